"""Bugs that somebody could write, each with the text it replaces and the tests that must notice."""

from __future__ import annotations

from dataclasses import dataclass

MATCH = "tests/planning/test_matching.py"
GUARD = "tests/planning/test_guards.py"
PLAN = "tests/planning/test_plan.py"
SECOND = "tests/apply/test_second_check.py -k 'refused or pin'"
LIVE = "tests/test_workspace.py"
OUTCOME = "tests/api/test_outcome.py -k 'whole_answer or neither or connection_of_its_own'"
CLIENT = "tests/api/test_client.py::test_desktops_come_a_hundred_a_page"
JOURNAL = "tests/journal/test_fence.py -k sqlite"
OPERATION = "tests/apply/test_operation.py"
JUDGE = "tests/apply/test_judge.py"
PROOF = "tests/apply/test_proof.py"
RESOLVE = "tests/apply/test_resolve.py"
POOLS = "tests/apply/test_pools.py"
RUN = "tests/apply/test_run.py"
DIGEST = "tests/flows/test_main_job.py::test_an_approved_digest_is_honoured_and_any_other_refused"


@dataclass(frozen=True)
class Bug:
    """One planted bug."""

    name: str
    file: str
    right: str
    wrong: str
    noticed_by: str
    """Arguments of pytest, as a shell would read them."""


BUGS = (
    Bug(
        "a call whose answer was lost is taken as not sent, and so made again",
        "apply/operation.py",
        "        case State.NOT_SENT:\n",
        "        case State.NOT_SENT | State.UNKNOWN:\n",
        OPERATION,
    ),
    Bug(
        "the job's word is taken for the deed",
        "apply/operation.py",
        "        if seen.complete:\n",
        "        if end is JobEnd.SUCCEEDED:\n",
        JUDGE,
    ),
    Bug(
        "an open operation is given up while its request can still arrive",
        "apply/resolve.py",
        "return intent.not_after is not None and ctx.clock.now() > intent.not_after",
        "return True",
        RESOLVE,
    ),
    Bug(
        "the expiry of a request is judged after the jobs were listed",
        "apply/resolve.py",
        "    expired = _can_no_longer_arrive(intent, ctx)\n    new_jobs = await _new_jobs(intent, site)\n",
        "    new_jobs = await _new_jobs(intent, site)\n    expired = _can_no_longer_arrive(intent, ctx)\n",
        RESOLVE,
    ),
    Bug(
        "the effect of a found job is not waited for",
        "apply/resolve.py",
        "ctx.options.proof_timeout if new_jobs else 0.0",
        "0.0",
        RESOLVE,
    ),
    Bug(
        "what a job did that failed in part is not waited for",
        "apply/operation.py",
        "patience = 0.0 if end is JobEnd.FAILED else ctx.options.proof_timeout",
        "patience = ctx.options.proof_timeout if end is JobEnd.SUCCEEDED else 0.0",
        OPERATION,
    ),
    Bug(
        "the budget is waited for after the pool was read",
        "apply/pools.py",
        "        await task.site.workspace.write_place(call.step)\n",
        "",
        POOLS,
    ),
    Bug(
        "a run that lost its hold after sending says that nothing was sent",
        "apply/operation.py",
        "    except PoolHeld as taken:\n",
        "    except StopIteration as taken:\n",
        OPERATION,
    ),
    Bug(
        "readings that contradict each other are taken for the last one",
        "apply/proof.py",
        "            return Effect(0, len(intent.disks), contradictory=True)\n",
        "            return seen or Effect(0, len(intent.disks))\n",
        PROOF,
    ),
    Bug(
        "an interruption while pools wait for their turn loses what is in flight",
        "apply/run.py",
        "            return _result(pool, Status.NOT_STARTED, _BEFORE_ITS_TURN)  # it was still waiting at the gate\n",
        "            raise\n",
        RUN,
    ),
    Bug(
        "an alarm found while resolving stops nothing",
        "engine/apply.py",
        "    if any(each.result.status is Status.ALARM for each in resolutions):\n",
        "    if False:\n",
        RUN,
    ),
    Bug(
        "a pool that waited sends after the alarm of another",
        "apply/pools.py",
        "ctx.stop.alarm or (ctx.stop.failed and not index)",
        "False",
        RUN,
    ),
    Bug(
        "a signal that came while the intent was written is not heard before the call leaves",
        "apply/operation.py",
        "        for _ in range(3):\n",
        "        for _ in range(0):\n",
        OPERATION,
    ),
    Bug(
        "a pool blocked in the review is carried out under its approval",
        "planning/plan.py",
        "each.rule not in ignoring",
        "False",
        PLAN,
    ),
    Bug(
        "operations of earlier runs are not looked at",
        "engine/apply.py",
        "    found = _open_of(connections, ctx)\n",
        "    found: list[tuple[Target, Operation]] = []\n",
        RUN,
    ),
    Bug(
        "the plan is not compared with what was approved",
        "apply/pools.py",
        "    if not same:\n",
        "    if False:\n",
        JUDGE,
    ),
    Bug(
        "blocked pools are carried out",
        "apply/run.py",
        "going = [pool for pool in plan.pools if pool.pending and not pool.blocked]",
        "going = [pool for pool in plan.pools if pool.pending]",
        RUN,
    ),
    Bug(
        "a disk of the same size does not count as fitting",
        "planning/matching.py",
        "    if disk.size > entry.size:\n        return None\n",
        "    if disk.size >= entry.size:\n        return None\n",
        MATCH,
    ),
    Bug(
        "the larger of two disks goes",
        "planning/matching.py",
        "(int(guarded), 1, size, 0, 0, 0)",
        "(int(guarded), 1, -size + 100_000, 0, 0, 0)",
        MATCH,
    ),
    Bug(
        "a limit may be passed by one",
        "planning/guards.py",
        "number > limit.value",
        "number > limit.value + 1",
        GUARD,
    ),
    Bug(
        "blocked pools count against the limits",
        "planning/guards.py",
        "totals([pool for pool in pools if not pool.blocked])",
        "totals(pools)",
        GUARD,
    ),
    Bug(
        "connected users are not looked at",
        "planning/guards.py",
        "    if connected and not pool.desired.allow_live_sessions:\n",
        "    if connected > 1 and not pool.desired.allow_live_sessions:\n",
        GUARD,
    ),
    Bug(
        "protected disks may go",
        "planning/guards.py",
        "hit = [disk.id for disk in pool.removed if disk.id in pool.desired.protect]",
        "hit = [disk.id for disk in pool.removed if disk.id == pool.desired.protect]",
        GUARD,
    ),
    Bug(
        "an approval for one service fits another",
        "planning/plan.py",
        '"service": each.name}',
        '"service": ""}',
        PLAN,
    ),
    Bug(
        "idle desktops are thought to be known",
        "planning/plan.py",
        "upper_bound=pool.desired.apply_to in (None, ApplyTo.IDLE)",
        "upper_bound=pool.desired.apply_to is None",
        PLAN,
    ),
    Bug(
        "the second check lets pinned disks go",
        "apply/second_check.py",
        "        if pin.id in going:\n",
        "        if pin.id == going:\n",
        SECOND,
    ),
    Bug(
        "a server error is taken for a refusal",
        "api/outcome.py",
        "    if 400 <= status < 500 and",
        "    if 400 <= status < 600 and",
        OUTCOME,
    ),
    Bug(
        "a success without a job is taken for acceptance",
        "api/outcome.py",
        'State.UNKNOWN, "", request_id, status, code, f"a success',
        'State.ACCEPTED, "", request_id, status, code, f"a success',
        OUTCOME,
    ),
    Bug(
        "a doubtful reading is good enough",
        "planning/guards.py",
        "    doubts = pool.live.doubts if pool.live else ()\n",
        "    doubts: tuple[str, ...] = ()\n",
        GUARD,
    ),
    Bug(
        "desktops are read ten at a time, as the service does when it is not asked otherwise",
        "api/client.py",
        'query: dict[str, Any] = {"limit": DESKTOPS_LIMIT, "offset": offset}',
        'query: dict[str, Any] = {"offset": offset}',
        CLIENT,
    ),
    Bug(
        "a hold is taken over while its owner lives",
        "journal/fence.py",
        '(operations.c.lease_until <= bindparam("now"))',
        '(operations.c.lease_until >= bindparam("now"))',
        JOURNAL,
    ),
    Bug(
        "an old reading is good enough for an intent",
        "journal/fence.py",
        'pools.c.generation == bindparam("expected")',
        'pools.c.generation >= bindparam("expected")',
        JOURNAL,
    ),
    Bug(
        "an approved digest is not compared",
        "cli/apply.py",
        "fits = digest is None or plan.approved_by(digest)",
        "fits = True",
        DIGEST,
    ),
    Bug(
        "a call is made again when its answer was cut",
        "api/client.py",
        "            answer = await fetch(self._writes, request, self._timing.write)\n",
        "            try:\n"
        "                answer = await fetch(self._writes, request, self._timing.write)\n"
        "            except httpx.RemoteProtocolError:\n"
        "                answer = await fetch(self._writes, request, self._timing.write)\n",
        OUTCOME,
    ),
    Bug(
        "writes share the connections of reads",
        "api/client.py",
        "answer = await fetch(self._writes, request",
        "answer = await fetch(self._reads, request",
        OUTCOME,
    ),
    Bug(
        "FAIL is taken for success",
        "workspace.py",
        "    if ended_badly or bad:\n",
        "    if bad:\n",
        LIVE,
    ),
    Bug(
        "sub-jobs that failed are not looked at",
        "workspace.py",
        "    if ended_badly or bad:\n",
        "    if ended_badly:\n",
        LIVE,
    ),
    Bug(
        "which desktops a removal reaches is not said",
        "workspace.py",
        "    if call.apply_to is not None:\n",
        "    if call.apply_to is not None and call.step is not Step.REMOVE:\n",
        LIVE,
    ),
    Bug(
        "an expansion is sent as a deletion",
        "workspace.py",
        'Step.EXPAND: "batch-expand"',
        'Step.EXPAND: "batch-delete"',
        LIVE,
    ),
    Bug(
        "absent disks are taken for none",
        "workspace.py",
        "    if body.data_volumes is None:\n",
        "    if body.data_volumes is None and body.desktop_count:\n",
        LIVE,
    ),
    Bug(
        "further users of a desktop are not counted",
        "workspace.py",
        "users = {name for name, is_group in attached if not is_group}",
        "users = set[str]()",
        LIVE,
    ),
    Bug(
        "whatever stands behind the declared number is the surplus",
        "planning/matching.py",
        "            elif index not in open_ended:\n",
        "            elif index >= len(entries):\n",
        MATCH,
    ),
    Bug(
        "a tie is decided silently",
        "planning/matching.py",
        "            undecided.append(group)\n",
        "            continue\n",
        MATCH,
    ),
    Bug(
        "a tie blocks nothing",
        "planning/guards.py",
        "    for tie in pool.ties:\n",
        "    for tie in pool.ties[1:]:\n",
        GUARD,
    ),
    Bug(
        "one reading is proof enough",
        "apply/proof.py",
        "NEEDED = 2\n",
        "NEEDED = 1\n",
        PROOF,
    ),
    Bug(
        "a doubtful reading is proof enough",
        "apply/proof.py",
        "    return None if pool.doubts else effect(intent, pool.disks)\n",
        "    return effect(intent, pool.disks)\n",
        PROOF,
    ),
    Bug(
        "a kept disk that vanished is no alarm",
        "apply/proof.py",
        "    lost = tuple(sorted(set(intent.keep) - live.keys()))\n",
        "    lost: tuple[str, ...] = ()\n",
        JUDGE,
    ),
    Bug(
        "an alarm stops nothing when the run is to keep going",
        "apply/run.py",
        "    ctx.stop.alarm |= result.status is Status.ALARM\n",
        "",
        RUN,
    ),
    Bug(
        "no pool goes alone first",
        "apply/run.py",
        "        results.append(await guarded(going[0]))\n"
        "        results.extend(await _all(going[1:], guarded, ctx))\n",
        "        results.extend(await _all(going, guarded, ctx))\n",
        RUN,
    ),
    Bug(
        "any job of the pool is taken for the lost one",
        "apply/resolve.py",
        "    return known - set(intent.baseline_jobs) | gaps\n",
        "    return known\n",
        RESOLVE,
    ),
    Bug(
        "a saved plan can be applied twice",
        "engine/apply.py",
        "ctx.journal.claim_plan(request.saved_plan.id, ctx.run_id)",
        "ctx.journal.claim_plan(plan.id, ctx.run_id)",
        RUN,
    ),
    Bug(
        "an approval for one target fits another",
        "planning/plan.py",
        '{"region": each.target.region, "project_id": each.target.project_id, ',
        "{",
        PLAN,
    ),
    Bug(
        "the second check accepts an id of another pool",
        "apply/second_check.py",
        "        if by_id.get(each[0]) != each:\n",
        "        if by_id.get(each[0], each) != each:\n",
        SECOND,
    ),
    Bug(
        "the second check is left out for the first call",
        "apply/pools.py",
        "    if call.step is Step.REMOVE:\n",
        "    if call.step is Step.REMOVE and index > 0:\n",
        POOLS,
    ),
    Bug(
        "every rejection is tried again",
        "apply/pools.py",
        "        return BUSY_WAIT\n    return None\n",
        "        return BUSY_WAIT\n    return BUSY_WAIT\n",
        POOLS,
    ),
    Bug(
        "Retry-After is not honoured",
        "apply/pools.py",
        "min(outcome.retry_after or THROTTLED_WAIT, LONGEST_WAIT)",
        "THROTTLED_WAIT",
        POOLS,
    ),
    Bug(
        "calls are sent into a running job",
        "apply/pools.py",
        "    if known & await site.running[call.step]",
        "    if known & await site.running[Step.ADD]",
        POOLS,
    ),
    Bug(
        "an interrupted call leaves no word of its outcome",
        "apply/operation.py",
        "        ctx.journal.record_outcome(intent.operation_id, ctx.run_id, recorded(outcome))\n        raise\n",
        "        raise\n",
        OPERATION,
    ),
    Bug(
        "the hold on a pool is not renewed",
        "apply/operation.py",
        "            ctx.journal.renew_lease(intent.operation_id, ctx.run_id, ctx.options.lease)\n",
        "            pass\n",
        OPERATION,
    ),
)
