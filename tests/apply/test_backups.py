"""Right before a removal its backups are read and judged once more, and judged again from the raw answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from reconciler.apply.polling import CoalescedRead
from reconciler.apply.pools import Task, apply_pool
from reconciler.apply.results import PoolResult, Status
from reconciler.apply.second_check import SecondCheckFailed
from reconciler.errors import PermissionDenied, Refused, ServiceError
from reconciler.model import ApplyTo, Backup, BackupRule, Manifest
from reconciler.planner import Connection, PlanMetadata, compute
from reconciler.planning.plan import Service
from reconciler.values import replace
from reconciler.workspace import BackupReading
from tests.apply.harness import GOING, Harness, harness
from tests.builders import AT, TARGET, backup_page, entry, pool

DAY = timedelta(days=1)
DEMANDING = pool(entry("SAS", 50), apply_to=ApplyTo.ALL, backup=BackupRule(DAY, AT))


class Readings:
    """Answers one reading after the other, the last one for ever; an error is raised."""

    def __init__(self, *readings: BackupReading | ServiceError) -> None:
        self.readings = list(readings)
        self.asked = 0

    async def read(self) -> BackupReading:
        self.asked += 1
        found = self.readings.pop(0) if len(self.readings) > 1 else self.readings[0]
        if isinstance(found, ServiceError):
            raise found
        return found


def backups(world: Harness, age: timedelta = DAY / 2) -> list[Backup]:
    """One of each desktop of the simulated pool."""
    made = world.clock.now() - age
    return [Backup(f"b-{number}", f"pool-d{number}", "available", made) for number in range(2)]


def reading(found: Sequence[Backup], raw: Sequence[Backup] | None = None) -> BackupReading:
    return BackupReading(tuple(found), (backup_page(found if raw is None else raw),))


async def task_of(world: Harness, readings: Readings) -> Task:
    """The pool's share of a plan made now."""
    connection = Connection(Service(TARGET, "simulated"), world.service, world.clock, backups=readings.read)
    manifest = Manifest((DEMANDING,))
    stamp = PlanMetadata("plan", world.clock.now(), timedelta(hours=1))
    plan = await compute(manifest, manifest.limits, {TARGET: connection}, stamp)
    assert not plan.blocked
    site = replace(world.site(), backups=CoalescedRead(readings.read, world.clock))
    return Task(plan.pools[0], plan, plan.digest, site, world.context())


def test_a_removal_with_backups_goes_and_its_intent_keeps_their_ids() -> None:
    async def scenario(world: Harness) -> tuple[PoolResult, Readings]:
        world.journal.open_run("run", "apply", "1", [])
        readings = Readings(reading(backups(world)))
        return await apply_pool(await task_of(world, readings)), readings

    with harness() as world:
        result, readings = world.run(scenario(world))
        assert result.status is Status.DONE
        assert readings.asked == 2  # for the plan, and once more before the call
        record = world.journal.run("run")
        assert record
        [operation] = record.operations
        kept = {copy.desktop_id: [each.id for each in copy.backups] for copy in operation.intent.copies}
        assert kept == {"pool-d0": ["b-0"], "pool-d1": ["b-1"]}


def test_what_was_read_for_another_pool_a_while_ago_is_read_again() -> None:
    async def scenario(world: Harness) -> None:
        good = backups(world)
        task = await task_of(world, Readings(reading(good)))
        readings = Readings(reading(good), reading(good[:1]))
        task = replace(task, site=replace(task.site, backups=CoalescedRead(readings.read, world.clock)))
        await task.site.backups.after(world.clock.monotonic())  # another pool's, a while ago
        await world.clock.sleep(60)
        with pytest.raises(Refused, match="1 of 2 desktops has a backup"):
            await apply_pool(task)

    with harness() as world:
        world.run(scenario(world))
        assert world.service.sent == []


@pytest.mark.parametrize("later", ["one gone", "too old", "none", "unread"])
def test_what_the_backups_are_right_before_the_call_decides(later: str) -> None:
    async def scenario(world: Harness) -> None:
        good = backups(world)
        answers: dict[str, BackupReading | ServiceError] = {
            "one gone": reading(good[:1]),
            "too old": reading(backups(world, DAY)),
            "none": reading([]),
            "unread": PermissionDenied("list backups: HTTP 403", status=403),
        }
        task = await task_of(world, Readings(reading(good), answers[later]))
        with pytest.raises(Refused, match="backup: pool: disk b"):
            await apply_pool(task)

    with harness() as world:
        world.run(scenario(world))
        assert world.service.sent == []
        assert GOING.id in world.service.pools_["pool"].disks


def test_a_raw_answer_that_does_not_bear_the_backups_out_stops_the_call() -> None:
    async def scenario(world: Harness) -> None:
        good = backups(world)
        task = await task_of(world, Readings(reading(good), reading(good, raw=good[:1])))
        with pytest.raises(SecondCheckFailed, match="desktop pool-d1 has no backup that may hold its copy"):
            await apply_pool(task)

    with harness() as world:
        world.run(scenario(world))
        assert world.service.sent == []
