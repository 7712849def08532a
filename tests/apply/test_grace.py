"""What is checked of grace right before a call: by the journal itself, as the marks are in that moment."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from reconciler.apply.results import ApplyReport, Status
from reconciler.engine.apply import ApplyRequest
from reconciler.engine.apply import apply as run_apply
from reconciler.errors import ExitCode
from reconciler.journal.records import Journal, MarkKey, NewMark, PoolKey
from reconciler.model import ApplyTo, Limits, Manifest
from reconciler.planning.plan import Plan
from reconciler.values import replace
from tests.apply.harness import GOING, Harness, harness
from tests.builders import TARGET, entry, pool

WEEK = timedelta(days=7)
KEY = MarkKey(PoolKey(str(TARGET), "simulated", "pool"), GOING.id)


class Objecting:
    """A journal in which a person objects after all that a run has read, right before it opens its operation."""

    def __init__(self, journal: Journal, harness: Harness) -> None:
        self._journal, self._clock = journal, harness.clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    def open_operation(self, *given: Any, **named: Any) -> Any:
        self._journal.extend_mark(KEY, "person", "amara", self._clock.now() + WEEK)
        return self._journal.open_operation(*given, **named)


class Reading:
    """A journal that counts the marks that are read from it: of a whole target, and of one pool."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.whole, self.one = list[int](), list[int]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    def marks(self, target: str | None = None, service: str | None = None, pool_id: str | None = None) -> Any:
        found = self._journal.marks(target, service, pool_id)
        (self.whole if pool_id is None else self.one).append(len(found))
        return found


def applied(world: Harness, journal: Any) -> ApplyReport:
    async def yes(_plan: Plan) -> None:
        """A person says yes."""

    desired = pool(entry("SAS", 50), apply_to=ApplyTo.ALL, grace=WEEK)
    request = ApplyRequest(Manifest((desired,)), Limits(), yes)
    return world.run(run_apply(request, replace(world.context(), journal=journal)))


def marked(world: Harness) -> None:
    """The surplus disk was marked when its grace began, which has just ended."""
    world.journal.keep_marks("run-0", [NewMark(KEY, "pool", WEEK)], [])
    world.loop.stand_still(WEEK.total_seconds())


def test_what_is_due_goes() -> None:
    with harness() as world:
        marked(world)
        assert applied(world, world.journal).exit_code is ExitCode.DONE
        assert len(world.service.sent) == 1
        assert world.journal.marks() == ()


def test_a_pool_reads_its_own_marks_alone_however_many_there_are() -> None:
    with harness() as world:
        others = [MarkKey(replace(KEY.pool, pool_id=f"other-{number}"), GOING.id) for number in range(30)]
        world.journal.keep_marks("run-0", [NewMark(each, "other", WEEK) for each in others], [])
        marked(world)
        read = Reading(world.journal)
        assert applied(world, read).exit_code is ExitCode.DONE
        assert set(read.one) == {1}
        # Before the plan, to keep the marks, and after the run: as often as for any number of pools.
        assert len(read.whole) <= 6


def test_a_person_who_objects_in_the_last_moment_is_heard() -> None:
    with harness() as world:
        marked(world)
        report = applied(world, Objecting(world.journal, world))
        [result] = report.results
        assert (result.status, report.exit_code) == (Status.REFUSED, ExitCode.REFUSED)
        assert "amara lets disk b wait until" in result.message
        assert world.service.sent == []
