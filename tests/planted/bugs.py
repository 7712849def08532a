"""Bugs that somebody could write, each with the text it replaces and the tests that must notice."""

from __future__ import annotations

from dataclasses import dataclass

MATCH = "tests/planning/test_matching.py"
GUARD = "tests/planning/test_guards.py"
PLAN = "tests/planning/test_plan.py"
SECOND = "tests/apply/test_second_check.py"
LIVE = "tests/test_workspace.py"
OUTCOME = "tests/api/test_outcome.py"
CLIENT = "tests/api/test_client.py"
JOURNAL = "tests/journal/test_fence.py"
OPERATION = "tests/apply/test_operation.py"
JUDGE = "tests/apply/test_judge.py"
PROOF = "tests/apply/test_proof.py"
REMEDIATION = "tests/engine/test_remediation.py"
DECISION = "tests/apply/test_decision.py"
RESOLVE = "tests/apply/test_resolve.py"
POOLS = "tests/apply/test_pools.py"
RUN = "tests/apply/test_run.py"
RETRY = "tests/engine/test_retry.py"
KNOWN = "tests/engine/test_known.py"
CHECK_RETRY = "tests/apply/test_check_retry.py"
MAIN_JOB = "tests/flows/test_main_job.py"


@dataclass(frozen=True)
class Bug:
    """One planted bug."""

    name: str
    file: str
    right: str
    wrong: str
    noticed_by: str
    """The quickest tests that must fail, as arguments of pytest."""


BUGS = (
    Bug(
        "a removal that nobody here knows of blocks nothing",
        "planner.py",
        "not in known.held_now():\n",
        "in known.held_now():\n",
        f"{KNOWN}::test_a_running_removal_that_no_open_operation_accounts_for_blocks_the_pool_it_is_on",
    ),
    Bug(
        "the job of an open operation is taken for a stranger's",
        "engine/known.py",
        "                jobs.add(operation.outcome.job_id)\n",
        "                jobs.discard(operation.outcome.job_id)\n",
        f"{KNOWN}::test_the_job_of_an_operation_that_is_not_done_is_known",
    ),
    Bug(
        "what a restored journal does not know is an alarm",
        "apply/operation.py",
        "    if seen.lost and later:\n",
        "    if seen.lost and later and not later:\n",
        f"{RESOLVE}::test_a_journal_restored_from_a_backup_is_said_in_the_place_of_an_alarm",
    ),
    Bug(
        "a disk that vanished is explained by jobs that are not there",
        "apply/operation.py",
        "    if seen.lost and later:\n",
        "    if seen.lost:\n",
        f"{RESOLVE}::test_without_such_a_job_it_stays_an_alarm",
    ),
    Bug(
        "a damaged record is closed at the first word",
        "engine/resolution.py",
        "    if not decision.despite_evidence:\n",
        "    if not decision.by:\n",
        "tests/flows/test_journal_place.py::test_a_damaged_record_has_a_way_out_that_a_person_takes_by_name",
    ),
    Bug(
        "a damaged record takes nothing from the day's budget",
        "engine/remediation.py",
        "    return by_hand + journal.removed_since(str(service.target), service.name, since) - sound\n",
        "    return by_hand\n",
        f"{REMEDIATION}::test_what_a_damaged_record_removed_today_counts_as_much_as_it_can_be",
    ),
    Bug(
        "a pool that a run is changing counts towards the limits of drift",
        "engine/remediation.py",
        "    return replace(plan, pools=pools, findings=(*limits, *others))\n",
        "    return replace(plan, pools=pools, findings=(*plan.findings, *limits[:0], *others[:0]))\n",
        f"{REMEDIATION}::test_a_pool_that_a_run_is_changing_takes_nothing_from_the_limits_of_the_others",
    ),
    Bug(
        "a retry sends what is left although it has grown since it was approved",
        "engine/retry.py",
        "    if grown or pool_decision",
        "    if pool_decision",
        f"{RETRY}::test_copies_that_appear_between_approval_and_call_are_not_approved",
    ),
    Bug(
        "a retry is proven although not every desktop was listed",
        "apply/proof.py",
        "    complete = pool.desktop_count in (None, len(desktops))\n",
        "    complete = True\n",
        f"{RETRY}::test_desktops_that_hide_while_a_retry_is_proven_prove_nothing",
    ),
    Bug(
        "a desktop that does not say its copies counts as rid of them",
        "apply/proof.py",
        "    return not desktop.copies_known or any(",
        "    return any(",
        f"{CHECK_RETRY}::test_a_copy_is_gone_only_when_nothing_of_it_is_there",
    ),
    Bug(
        "a job that runs again under its old id is judged by its old end",
        "apply/operation.py",
        "    return job is not None and job.end is JobEnd.RUNNING\n",
        "    return False\n",
        f"{RETRY}::test_a_job_that_runs_again_under_its_old_id_is_not_judged_by_how_it_ended_before",
    ),
    Bug(
        "a retry without an answer is taken for one that never arrived",
        "apply/resolve.py",
        "    maybe = new_jobs or frozenset({RERUN})\n",
        "    maybe = new_jobs\n",
        f"{RETRY}::test_a_retry_that_never_arrived_is_closed_only_after_its_request_expired",
    ),
    Bug(
        "the second check lets a retry take a disk that was not approved",
        "apply/second_check.py",
        "    if stray := sorted(going - disks.keys()):\n",
        "    if stray := sorted(going - going):\n",
        f"{CHECK_RETRY}::test_anything_else_stops_it",
    ),
    Bug(
        "a retry ignores a disk that the pool has again",
        "planning/retry_plan.py",
        "disk.id in alive and disk not in manifest.removed]",
        "disk.id in alive and disk in manifest.removed]",
        f"{RETRY}::test_a_disk_that_the_pool_has_again_and_the_manifest_declares_is_never_risked",
    ),
    Bug(
        "a lost answer to a partial job is closed as done",
        "apply/resolve.py",
        "    in_part = job if job and job.end is JobEnd.PARTIAL else None\n",
        "    in_part = None\n",
        f"{RESOLVE}::test_the_job_of_a_lost_answer_that_did_only_a_part_is_partial_although_the_disk_is_gone",
    ),
    Bug(
        "a reading that hides desktops makes leftovers disappear",
        "planning/leftovers.py",
        '        gap = unread if set(each.disks) - alive else ""\n',
        '        gap = ""\n',
        "tests/planning/test_leftovers.py::test_an_incomplete_reading_says_so_and_never_that_nothing_is_left",
    ),
    Bug(
        "a desktop with one failed sub-job counts as done",
        "apply/partial.py",
        "ends.get(part.desktop_id, True) and part.done",
        "ends.get(part.desktop_id, False) or part.done",
        "tests/apply/test_partial.py::test_a_desktop_with_one_failed_sub_job_of_several_is_not_done",
    ),
    Bug(
        "a partial job is waited for longer than it may be",
        "apply/operation.py",
        "return min(ctx.options.proof_timeout, max(until - ctx.clock.monotonic(), 0.0))",
        "return ctx.options.proof_timeout",
        f"{OPERATION}::test_a_partial_job_obeys_the_time_limit_and_stays_open",
    ),
    Bug(
        "a pool that a run is changing is measured as drift",
        "engine/remediation.py",
        "if each.lease_until > now}",
        "if each.lease_until > now and False}",
        f"{REMEDIATION}::test_a_pool_that_a_run_is_changing_is_not_measured_and_is_no_drift",
    ),
    Bug(
        "a disk that is not found counts as gone without a look",
        "apply/operation.py",
        "    if seen and seen.complete:\n",
        "    if seen:\n",
        f"{OPERATION}::test_not_found_for_a_disk_that_is_there_is_a_rejection",
    ),
    Bug(
        "a disk that somebody else removed stops the run",
        "apply/operation.py",
        "        case State.REJECTED if intent.step is Step.REMOVE and outcome.status == NOT_FOUND:\n",
        "        case State.REJECTED if outcome.status == -NOT_FOUND:\n",
        f"{RUN}::test_a_disk_that_somebody_else_removed_stops_no_other_pool",
    ),
    Bug(
        "a person's word is taken against the disks",
        "apply/decision.py",
        "    if evidence.against and not decision.despite_evidence:\n",
        "    if False:\n",
        f"{DECISION}::test_done_is_refused_while_the_disks_are_there",
    ),
    Bug(
        "an accepted call is closed as not accepted",
        "apply/decision.py",
        "    if outcome and (outcome.job_id",
        "    if outcome and False and (outcome.job_id",
        f"{DECISION}::test_what_the_service_accepted_is_never_closed_as_not_accepted",
    ),
    Bug(
        "a call whose answer was lost is taken as not sent, and so made again",
        "apply/operation.py",
        "        case State.NOT_SENT:\n",
        "        case State.NOT_SENT | State.UNKNOWN:\n",
        f"{OPERATION}::test_every_ending_is_told_and_kept_alike",
    ),
    Bug(
        "the job's word is taken for the deed",
        "apply/operation.py",
        "        if seen.complete:\n",
        "        if end is JobEnd.SUCCEEDED:\n",
        f"{JUDGE}::test_the_disks_decide_and_the_job_alone_never_makes_it_done",
    ),
    Bug(
        "an open operation is given up while its request can still arrive",
        "apply/resolve.py",
        "return intent.not_after is not None and ctx.journal.now() > intent.not_after",
        "return True",
        f"{RESOLVE}::test_while_the_request_can_arrive_nothing_is_decided",
    ),
    Bug(
        "the expiry of a request is judged after the jobs were listed",
        "apply/resolve.py",
        "    expired = can_no_longer_arrive(intent, ctx)\n    new_jobs = await _new_jobs(intent, site)\n",
        "    new_jobs = await _new_jobs(intent, site)\n    expired = can_no_longer_arrive(intent, ctx)\n",
        f"{RESOLVE}::test_a_request_accepted_right_after_the_jobs_were_listed_is_not_given_up",
    ),
    Bug(
        "the effect of a found job is not waited for",
        "apply/resolve.py",
        "proof_seconds(until, ctx) if new_jobs else 0.0",
        "0.0",
        f"{RESOLVE}::test_the_effect_of_a_found_job_is_waited_for_before_the_disks_decide",
    ),
    Bug(
        "what a job did that failed in part is not waited for",
        "apply/operation.py",
        "seconds = 0.0 if final else proof_seconds(until, ctx)",
        "seconds = ctx.options.proof_timeout if end is JobEnd.SUCCEEDED else 0.0",
        f"{OPERATION}::test_what_a_job_did_that_failed_in_part_is_waited_for",
    ),
    Bug(
        "the budget is waited for after the pool was read",
        "apply/pools.py",
        "        await task.site.workspace.write_place(call.step)\n",
        "",
        f"{POOLS}::test_the_wait_for_the_budget_holds_nothing_and_is_followed_by_a_new_reading",
    ),
    Bug(
        "the hold is not renewed right before the call",
        "apply/operation.py",
        "    if lost := _lost_hold(intent, ctx):\n        return lost\n",
        "",
        f"{RUN}::test_a_hold_lost_between_the_intent_and_the_call_is_not_sent",
    ),
    Bug(
        "a run that lost its hold after sending says that nothing was sent",
        "apply/operation.py",
        "    except PoolHeld as taken:\n        detail =",
        "    except StopIteration as taken:\n        detail =",
        f"{OPERATION}::test_a_run_that_lost_its_hold_while_it_sent_says_that_nobody_knows",
    ),
    Bug(
        "readings that contradict each other are taken for the last one",
        "apply/proof.py",
        "            return Observation(0, _total(intent), contradictory=True)\n",
        "            return seen or Observation(0, len(intent.disks))\n",
        f"{PROOF}::test_readings_that_keep_contradicting_each_other_are_given_up",
    ),
    Bug(
        "an interruption while pools wait for their turn loses what is in flight",
        "apply/run.py",
        "            return _result(pool, Status.NOT_STARTED, _BEFORE_ITS_TURN)  # it was still waiting at the gate\n",
        "            raise\n",
        f"{RUN}::test_an_interruption_waits_for_what_is_in_flight_and_tells_every_pool",
    ),
    Bug(
        "an alarm found while resolving stops nothing",
        "engine/apply.py",
        "    if any(each.result.status is Status.ALARM for each in resolutions):\n",
        "    if False:\n",
        f"{RUN}::test_an_alarm_of_an_earlier_run_stops_this_one_before_it_plans",
    ),
    Bug(
        "a pool that waited sends after the alarm of another",
        "apply/pools.py",
        "ctx.stop.alarm or (ctx.stop.failed and not index)",
        "False",
        f"{RUN}::test_a_pool_that_waits_sends_nothing_after_the_alarm_of_another",
    ),
    Bug(
        "a signal that came while the intent was written is not heard before the call leaves",
        "apply/operation.py",
        "        for _ in range(3):\n",
        "        for _ in range(0):\n",
        f"{OPERATION}::test_a_signal_that_comes_while_the_intent_is_written_is_heard_before_the_call_leaves",
    ),
    Bug(
        "a pool blocked in the review is carried out under its approval",
        "planning/plan.py",
        "each.rule not in ignoring",
        "False",
        f"{PLAN}::test_a_pool_blocked_in_the_review_stays_out_and_one_blocked_since_leaves_the_others_in",
    ),
    Bug(
        "operations of earlier runs are not looked at",
        "engine/resolution.py",
        "    found = [each for each in open_operations(ctx) if concerns(each[1], only)]\n",
        "    found: list[tuple[Target, Operation]] = []\n",
        f"{RUN}::test_what_an_earlier_run_left_open_is_resolved_before_anything_is_sent",
    ),
    Bug(
        "the plan is not compared with what was approved",
        "apply/pools.py",
        "    if not same:\n",
        "    if False:\n",
        f"{JUDGE}::test_whatever_changed_since_the_approval_is_stale",
    ),
    Bug(
        "blocked pools are carried out",
        "apply/run.py",
        "going = [pool for pool in plan.pools if pool.pending and not pool.blocked]",
        "going = [pool for pool in plan.pools if pool.pending]",
        f"{RUN}::test_a_blocked_pool_is_told_and_never_carried_out",
    ),
    Bug(
        "a disk of the same size does not count as fitting",
        "planning/matching.py",
        "    if disk.size > entry.size:\n        return None\n",
        "    if disk.size >= entry.size:\n        return None\n",
        f"{MATCH}::test_the_cases_users_meet_today",
    ),
    Bug(
        "the larger of two disks goes",
        "planning/matching.py",
        "(1, disk.size, 0,",
        "(1, 100_000 - disk.size, 0,",
        f"{MATCH}::test_the_cases_users_meet_today",
    ),
    Bug(
        "protection makes another disk go",
        "planning/matching.py",
        "int(disk.id in protect)) for disk in disks]",
        "0) if disk.id not in protect else (9, 0, 0, 0, 0, 0) for disk in disks]",
        f"{MATCH}::test_a_protected_disk_goes_rather_than_one_that_equals_what_is_declared",
    ),
    Bug(
        "a tie hides that its disk would be replaced",
        "planning/matching.py",
        "                self._check_permission(entry, tie.candidates)\n",
        "",
        f"{MATCH}::test_a_tie_does_not_hide_that_one_of_its_disks_would_be_replaced",
    ),
    Bug(
        "a disk goes for an expansion that is only shown",
        "planning/guards.py",
        "if _could_be(disk, change)]",
        "if _could_be(disk, change) and pool.ties]",
        f"{GUARD}::test_no_disk_goes_because_another_would_grow_where_growing_is_not_carried_out",
    ),
    Bug(
        "a disk goes beside a replacement that is only shown",
        "planning/guards.py",
        "    yield from _rests_on_replacement(pool, going)\n",
        "",
        f"{GUARD}::test_no_disk_goes_beside_a_replacement_that_is_only_shown",
    ),
    Bug(
        "a tie hides that a protected disk would go",
        "planning/guards.py",
        "(len(tie.candidates) - len(guarded))) > 0:",
        "len(tie.candidates)) > 0:",
        f"{GUARD}::test_a_tie_of_protected_disks_says_that_one_of_them_would_go",
    ),
    Bug(
        "a pool is matched whatever the number of its disks",
        "planning/draft.py",
        "    if len(live.disks) > MAX_POOL_DISKS:\n",
        "    if len(live.disks) > 100 * MAX_POOL_DISKS:\n",
        f"{PLAN}::test_a_pool_with_more_disks_than_the_service_allows_is_doubted_and_keeps_them_all",
    ),
    Bug(
        "the summary counts what is blocked",
        "planning/plan.py",
        "totals([pool for pool in self.pools if not pool.blocked])",
        "totals(self.pools)",
        f"{PLAN}::test_what_is_blocked_is_counted_apart",
    ),
    Bug(
        "the second check lets a disk go that could be the declared one",
        "apply/second_check.py",
        "    if Action.EXPAND not in desired.manage:\n",
        "    if not desired.manage:\n",
        f"{SECOND}::test_where_disks_do_not_grow_none_goes_that_could_be_the_declared_one",
    ),
    Bug(
        "a limit may be passed by one",
        "planning/guards.py",
        "number > limit.value",
        "number > limit.value + 1",
        f"{GUARD}::test_a_ceiling_holds_exactly_at_its_limit",
    ),
    Bug(
        "blocked pools count against the limits",
        "planning/guards.py",
        "totals([pool for pool in pools if not pool.blocked])",
        "totals(pools)",
        f"{GUARD}::test_a_pool_blocked_before_the_guards_does_not_count_either",
    ),
    Bug(
        "connected users are not looked at",
        "planning/guards.py",
        "    if connected and not pool.desired.allow_live_sessions:\n",
        "    if connected > 1 and not pool.desired.allow_live_sessions:\n",
        f"{GUARD}::test_one_connected_user_blocks",
    ),
    Bug(
        "protected disks may go",
        "planning/guards.py",
        "hit = [disk.id for disk in pool.removed if disk.id in pool.desired.protect]",
        "hit = [disk.id for disk in pool.removed if disk.id == pool.desired.protect]",
        f"{GUARD}::test_a_protected_disk_blocks_by_its_id",
    ),
    Bug(
        "an approval for one service fits another",
        "planning/plan.py",
        '"service": each.name}',
        '"service": ""}',
        f"{PLAN}::test_the_digest_changes_with_what_is_approved",
    ),
    Bug(
        "idle desktops are thought to be known",
        "planning/draft.py",
        "upper_bound=pool.desired.apply_to in (None, ApplyTo.IDLE)",
        "upper_bound=pool.desired.apply_to is None",
        f"{PLAN}::test_where_the_service_decides_the_loss_is_told_as_the_worst_case",
    ),
    Bug(
        "the second check lets pinned disks go",
        "apply/second_check.py",
        "        if pin.id in going:\n",
        "        if pin.id == going:\n",
        f"{SECOND}::test_a_pin_serves_only_the_disk_it_names",
    ),
    Bug(
        "a server error is taken for a refusal",
        "api/outcome.py",
        "    if 400 <= status < 500 and",
        "    if 400 <= status < 600 and",
        f"{OUTCOME}::test_an_answer_that_says_neither_yes_nor_no_is_unknown",
    ),
    Bug(
        "a success without a job is taken for acceptance",
        "api/outcome.py",
        'State.UNKNOWN, "", request_id, status, code, f"success',
        'State.ACCEPTED, "", request_id, status, code, f"success',
        f"{OUTCOME}::test_an_answer_that_says_neither_yes_nor_no_is_unknown",
    ),
    Bug(
        "a doubtful reading is good enough",
        "planning/guards.py",
        "    doubts = pool.live.doubts if pool.live else ()\n",
        "    doubts: tuple[str, ...] = ()\n",
        f"{GUARD}::test_every_doubt_blocks_even_where_nothing_would_change",
    ),
    Bug(
        "desktops are read ten at a time, as the service does when it is not asked otherwise",
        "api/client.py",
        'query: dict[str, Any] = {"limit": DESKTOPS_LIMIT, "offset": offset}',
        'query: dict[str, Any] = {"offset": offset}',
        f"{CLIENT}::test_desktops_come_a_hundred_a_page",
    ),
    Bug(
        "a hold is taken over while its owner lives",
        "journal/fence.py",
        '(operations.c.lease_until <= bindparam("now"))',
        '(operations.c.lease_until >= bindparam("now"))',
        f"{JOURNAL}::test_a_lease_that_runs_is_not_taken_over[sqlite]",
    ),
    Bug(
        "an old reading is good enough for an intent",
        "journal/fence.py",
        'pools.c.generation == bindparam("expected")',
        'pools.c.generation >= bindparam("expected")',
        f"{JOURNAL}::test_a_reading_from_before_another_operation_opens_nothing[sqlite-0]",
    ),
    Bug(
        "an approved digest is not compared",
        "cli/approval.py",
        "fits = digest is None or plan.approved_by(digest)",
        "fits = True",
        f"{MAIN_JOB}::test_an_approved_digest_is_honoured_and_any_other_refused",
    ),
    Bug(
        "a call is made again when its answer was cut",
        "api/client.py",
        "            answer = await fetch(self._writes, request, self._timing.write)\n",
        "            try:\n"
        "                answer = await fetch(self._writes, request, self._timing.write)\n"
        "            except httpx.RemoteProtocolError:\n"
        "                answer = await fetch(self._writes, request, self._timing.write)\n",
        f"{OUTCOME}::test_without_a_whole_answer_nobody_knows",
    ),
    Bug(
        "writes share the connections of reads",
        "api/client.py",
        "answer = await fetch(self._writes, request",
        "answer = await fetch(self._reads, request",
        f"{OUTCOME}::test_every_write_has_a_connection_of_its_own",
    ),
    Bug(
        "FAIL is taken for success",
        "workspace.py",
        "    if ended_badly or bad:\n",
        "    if bad:\n",
        f"{LIVE}::test_a_job_succeeded_only_when_it_and_every_part_of_it_did",
    ),
    Bug(
        "sub-jobs that failed are not looked at",
        "workspace.py",
        "    if ended_badly or bad:\n",
        "    if ended_badly:\n",
        f"{LIVE}::test_a_job_succeeded_only_when_it_and_every_part_of_it_did",
    ),
    Bug(
        "which desktops a removal reaches is not said",
        "workspace.py",
        "    if call.apply_to is not None:\n",
        "    if call.apply_to is not None and call.step is not Step.REMOVE:\n",
        f"{LIVE}::test_a_call_says_exactly_what_is_to_be_done",
    ),
    Bug(
        "an expansion is sent as a deletion",
        "workspace.py",
        'Step.EXPAND: "batch-expand"',
        'Step.EXPAND: "batch-delete"',
        f"{LIVE}::test_a_call_says_exactly_what_is_to_be_done",
    ),
    Bug(
        "absent disks are taken for none",
        "workspace.py",
        "    if body.data_volumes is None:\n",
        "    if body.data_volumes is None and body.desktop_count:\n",
        f"{LIVE}::test_absent_disks_are_a_doubt_of_the_list_that_the_detail_call_settles",
    ),
    Bug(
        "further users of a desktop are not counted",
        "workspace.py",
        "users = {name for name, is_group in attached if not is_group}",
        "users = set[str]()",
        f"{LIVE}::test_everybody_bound_to_a_desktop_is_counted_once",
    ),
    Bug(
        "whatever stands behind the declared number is the surplus",
        "planning/matching.py",
        "            elif index not in open_ended:\n",
        "            elif index >= len(entries):\n",
        f"{MATCH}::test_the_cases_users_meet_today",
    ),
    Bug(
        "a tie is decided silently",
        "planning/matching.py",
        "            undecided.append(group)\n",
        "            continue\n",
        f"{MATCH}::test_a_tie_lists_its_candidates_and_the_entries_they_compete_for",
    ),
    Bug(
        "a tie blocks nothing",
        "planning/guards.py",
        "    for tie in pool.ties:\n",
        "    for tie in pool.ties[1:]:\n",
        f"{GUARD}::test_a_tie_blocks_and_names_its_candidates",
    ),
    Bug(
        "one reading is proof enough",
        "apply/proof.py",
        "NEEDED = 2\n",
        "NEEDED = 1\n",
        f"{PROOF}::test_only_what_two_readings_in_a_row_show_counts",
    ),
    Bug(
        "a doubtful reading is proof enough",
        "apply/proof.py",
        "    if pool.doubts:\n        return None\n",
        "    if pool.doubts and not pool.id:\n        return None\n",
        f"{PROOF}::test_only_what_two_readings_in_a_row_show_counts",
    ),
    Bug(
        "a kept disk that vanished is no alarm",
        "apply/proof.py",
        "    lost = tuple(sorted(set(intent.keep) - live.keys()))\n",
        "    lost: tuple[str, ...] = ()\n",
        f"{JUDGE}::test_a_removal_is_seen_by_what_is_gone_and_what_had_to_stay",
    ),
    Bug(
        "an alarm stops nothing when the run is to keep going",
        "apply/run.py",
        "    ctx.stop.alarm |= result.status is Status.ALARM\n",
        "",
        f"{RUN}::test_a_kept_disk_that_vanished_stops_everything_whatever_was_asked",
    ),
    Bug(
        "no pool goes alone first",
        "apply/run.py",
        "        results.append(await guarded(going[0]))\n"
        "        results.extend(await _all(going[1:], guarded, ctx))\n",
        "        results.extend(await _all(going, guarded, ctx))\n",
        f"{RUN}::test_the_first_pool_goes_alone_and_the_rest_together",
    ),
    Bug(
        "any job of the pool is taken for the lost one",
        "apply/resolve.py",
        "    return known - set(intent.baseline_jobs) | gaps\n",
        "    return known\n",
        f"{RESOLVE}::test_a_job_that_was_there_before_is_not_taken_for_ours",
    ),
    Bug(
        "a saved plan can be applied twice",
        "engine/apply.py",
        "ctx.journal.claim_plan(request.saved_plan.id, ctx.run_id)",
        "ctx.journal.claim_plan(plan.id, ctx.run_id)",
        f"{RUN}::test_a_saved_plan_is_applied_once_even_if_the_surplus_comes_back",
    ),
    Bug(
        "an approval for one target fits another",
        "planning/plan.py",
        '{"region": each.target.region, "project_id": each.target.project_id, ',
        "{",
        f"{PLAN}::test_a_target_without_a_difference_takes_no_part_in_the_decision",
    ),
    Bug(
        "the second check accepts an id of another pool",
        "apply/second_check.py",
        "        if by_id.get(each[0]) != each:\n",
        "        if by_id.get(each[0], each) != each:\n",
        f"{SECOND}::test_the_root_disk_is_refused",
    ),
    Bug(
        "the second check is left out for the first call",
        "apply/pools.py",
        "    if call.step is Step.REMOVE:\n",
        "    if call.step is Step.REMOVE and index > 0:\n",
        f"{POOLS}::test_a_second_check_that_disagrees_stops_before_anything_is_sent",
    ),
    Bug(
        "every rejection is tried again",
        "apply/pools.py",
        "        return BUSY_WAIT\n    return None\n",
        "        return BUSY_WAIT\n    return BUSY_WAIT\n",
        f"{POOLS}::test_any_other_rejection_is_final",
    ),
    Bug(
        "Retry-After is not honoured",
        "apply/pools.py",
        "min(outcome.retry_after or THROTTLED_WAIT, LONGEST_WAIT)",
        "THROTTLED_WAIT",
        f"{POOLS}::test_a_rejection_that_passes_is_waited_out_and_answered_by_a_new_reading",
    ),
    Bug(
        "calls are sent into a running job",
        "apply/pools.py",
        "    if known & await site.running[call.step]",
        "    if known & await site.running[Step.ADD]",
        f"{POOLS}::test_nothing_is_sent_into_a_running_job",
    ),
    Bug(
        "an interrupted call leaves no word of its outcome",
        "apply/operation.py",
        "            ctx.journal.record_outcome(intent.operation_id, ctx.run_id, outcome)\n        raise\n",
        "            pass\n        raise\n",
        f"{OPERATION}::test_an_interruption_waits_briefly_for_the_answer_and_records_what_it_knows",
    ),
    Bug(
        "the hold on a pool is not renewed",
        "apply/operation.py",
        "            ctx.journal.renew_lease(intent.operation_id, ctx.run_id, ctx.options.lease)\n",
        "            pass\n",
        f"{OPERATION}::test_a_run_that_follows_a_long_job_keeps_its_hold",
    ),
)
