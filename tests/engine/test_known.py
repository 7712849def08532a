"""What the journal knows is part of the plan: partial removals, and which running jobs are its own."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from reconciler.engine.known import known_of
from reconciler.errors import ServiceError
from reconciler.journal.states import Outcome, State, Step
from reconciler.model import ApplyTo, Manifest
from reconciler.planner import NOTHING, Known, PlanMetadata, compute
from reconciler.planning.finding import Severity
from reconciler.planning.plan import Plan
from reconciler.planning.plan import Service as Named
from reconciler.values import replace
from reconciler.workspace import HANDLE_TYPES, JobEnd
from tests.apply.harness import GOING, Harness, Scripted, harness, removal
from tests.builders import TARGET, entry, pool
from tests.simulation.service import TrueJob

SERVICE = Named(TARGET, "simulated")
CHANGING = Manifest((pool(entry("SAS", 50)),))
CALM = Manifest((pool(entry("SAS", 50), entry("SAS", 200)),))


def planned(world: Harness, known: Known = NOTHING, manifest: Manifest = CHANGING) -> Plan:
    stamp = PlanMetadata("plan", world.clock.now(), timedelta(hours=1))
    return world.run(compute(manifest, manifest.limits, world.context().connections, stamp, known))


def runs(world: Harness, name: str = "other", pool_id: str = "pool") -> None:
    world.service.jobs[name] = TrueJob(name, pool_id, Step.REMOVE, 0, 600, JobEnd.SUCCEEDED, False, removal())


def rules(plan: Plan) -> set[tuple[str, Severity]]:
    return {(each.rule, each.severity) for each in plan.all_findings if each.rule == "unknown-job"}


def test_a_running_removal_that_no_open_operation_accounts_for_blocks_the_pool_it_is_on() -> None:
    with harness() as world:
        runs(world)
        plan = planned(world)
        assert rules(plan) == {("unknown-job", Severity.BLOCK)}
        assert "by job other" in next(
            each.message for each in plan.all_findings if each.rule == "unknown-job"
        )


def test_a_job_of_another_pool_blocks_nothing_here() -> None:
    with harness() as world:
        runs(world, pool_id="another")
        assert rules(planned(world)) == set()


def test_one_request_asks_for_all_and_none_where_nothing_would_change() -> None:
    with harness() as world:
        planned(world)
        assert (world.service.requests["running"], world.service.requests["pool_jobs"]) == (1, 0)
        planned(world, manifest=CALM)
        assert world.service.requests["running"] == 1


def test_the_job_of_an_operation_that_is_not_done_is_known() -> None:
    with harness() as world:
        world.journal.open_operation(world.intent(), "gone", 60)
        world.journal.record_outcome("op", "gone", Outcome(State.ACCEPTED, "ours"))
        runs(world, "ours")
        known = known_of(world.journal, [SERVICE], {})
        assert known.jobs == {"ours"}
        assert rules(planned(world, known)) == set()


def test_a_pool_that_the_journal_knows_and_no_manifest_names_any_more_is_noted_once() -> None:
    with harness() as world:
        world.journal.open_operation(world.intent(), "gone", 60)
        world.journal.close_operation("op", "gone", State.DONE, "done")
        known = known_of(world.journal, [SERVICE], {})
        other = dataclasses.replace(world.service.pools_["pool"], id="other", name="other")
        world.service.pools_["other"] = other

        def notes(manifest: Manifest) -> list[str]:
            plan = planned(world, known, manifest)
            assert not plan.blocked
            return [each.message for each in plan.all_findings if each.rule == "no-longer-managed"]

        assert notes(CALM) == []
        elsewhere = Manifest((pool(entry("SAS", 50), entry("SAS", 200), name="other"),))
        [note] = notes(elsewhere)
        assert "no longer managed): pool (pool)" in note
        del world.service.pools_["pool"]
        assert notes(elsewhere) == []


def test_a_job_that_another_run_of_this_journal_began_meanwhile_is_left_to_the_journal() -> None:
    with harness() as world:
        known = known_of(world.journal, [SERVICE], {})
        world.journal.open_operation(world.intent(), "rival", 60)
        runs(world, "rival's")
        assert rules(planned(world, known)) == set()
        snapshot = known_of(world.journal, [SERVICE], {}, stays=False)
        assert snapshot.held_now() == frozenset()


class Denied(Scripted):
    """Lets nobody list jobs."""

    status = 403

    async def running_jobs(self, step: Step) -> frozenset[str]:
        raise ServiceError("list sub-jobs: denied", status=self.status)


def test_without_the_permission_to_list_jobs_the_plan_says_so_and_goes_on() -> None:
    with harness() as world:
        world.service = Denied(world.loop, world.service.rng, world.service.pools_)
        assert rules(planned(world)) == {("unknown-job", Severity.WARN)}
        world.service.status = 500
        with pytest.raises(ServiceError):
            planned(world)


@pytest.mark.parametrize(
    ("state", "handle", "shown"),
    [
        (State.PARTIAL, ApplyTo.ALL, True),
        (State.PARTIAL, ApplyTo.NEW, False),
        (State.DONE, ApplyTo.ALL, False),
        (State.FAILED, ApplyTo.ALL, False),
    ],
)
def test_only_what_was_done_in_part_and_not_on_purpose_leaves_anything(
    state: State, handle: ApplyTo, shown: bool
) -> None:
    with harness() as world:
        intent = replace(world.intent(), handle_type=HANDLE_TYPES[handle])
        world.journal.open_operation(intent, "gone", 60)
        world.journal.close_operation("op", "gone", state, "ended")
        found = known_of(world.journal, [SERVICE], {}).partial
        assert [each.disks for removals in found.values() for each in removals] == [(GOING.id,)] * shown
