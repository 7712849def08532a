"""Judges a soak by the service's own record: nothing outside policy, budget and windows, and nothing twice.

The journal is asked only which run made a call, and when that run began.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from reconciler.journal.records import Journal, Operation
from reconciler.sandbox.world import World
from tests.soak.stage import WAVERING, Manifests

SLACK = 10.0
"""Seconds from the last look at the manifests to the call, on a machine that has much to do."""


def complaints(
    live: World, manifests: Manifests, journal: Journal, budget: int, opened: datetime
) -> tuple[list[str], Counter[str]]:
    """What must not have happened, and how many disks went, by kind of pool."""
    operations = journal.operations(opened - timedelta(days=1))
    types = dict(_types(live))
    gone: Counter[str] = Counter()
    days: Counter[str] = Counter()
    seen: set[str] = set()
    found: list[str] = []
    names = _names(live)
    for at, pool_id, disks in _removals(live):
        name = names[pool_id]
        sender = _sender(operations, pool_id, disks, at)
        for disk in disks:
            if disk in seen:
                found.append(f"{disk} of {name} was deleted twice")
            seen.add(disk)
            if types.get(disk) != WAVERING[0]:
                found.append(
                    f"{disk} of {name} was deleted, and every version declares it ({types.get(disk)})"
                )
        gone[name[0]] += len(disks)
        if sender is None:
            found.append(f"{name}: a call that the journal does not know")
            continue
        record = journal.run(sender.intent.run_id)
        if name.startswith("h-"):
            continue
        days[f"{sender.opened:%Y-%m-%d}"] += len(disks)
        if not name.startswith("p-"):
            found.append(f"{name} was changed, and no policy allows that")
        elif not _was_surplus(manifests, name, at):
            found.append(f"{name}: {disks} went although the manifest had declared them for {SLACK:.0f} s")
        if record is None or not _was_open(record.run.started, sender.opened, opened):
            found.append(f"{name} was changed outside every window, at {sender.opened:%H:%M:%S}")
    found += [
        f"{disks} disks went on {day}, budget {budget}" for day, disks in days.items() if disks > budget
    ]
    return found, gone


def _removals(live: World) -> Iterator[tuple[float, str, list[str]]]:
    for entry in live["record"]:
        if entry["status"] == 200 and entry["path"].endswith("/batch-delete"):
            body: Any = entry["body"]
            yield entry["time"], entry["path"].split("/")[-3], [each["id"] for each in body["volumes"]]


def _names(live: World) -> dict[str, str]:
    [project] = live["projects"].values()
    return {pool["id"]: pool["name"] for pool in project["pools"].values()}


def _types(live: World) -> Iterator[tuple[str, str]]:
    """The type of every disk that was ever there: of those that are gone, as it was sent."""
    [project] = live["projects"].values()
    yield from ((disk["id"], disk["type"]) for pool in project["pools"].values() for disk in pool["disks"])
    for entry in live["record"]:
        body: Any = entry["body"]
        if isinstance(body, dict):
            yield from ((each["id"], each["type"]) for each in body.get("volumes", ()) if "id" in each)


def _sender(operations: tuple[Operation, ...], pool_id: str, disks: list[str], at: float) -> Operation | None:
    moment = datetime.fromtimestamp(at, UTC)
    mine = [
        each
        for each in operations
        if each.intent.pool.pool_id == pool_id
        and [disk.id for disk in each.intent.disks] == disks
        and each.opened <= moment + timedelta(seconds=1)
    ]
    return mine[-1] if mine else None


def _was_surplus(manifests: Manifests, name: str, at: float) -> bool:
    """Whether some complete version without the disk was in force within the slack before the call."""
    return any(
        pool == name and since <= at and at - SLACK <= until for pool, since, until in manifests.undeclared
    )


def _was_open(began: datetime, sent: datetime, first: datetime) -> bool:
    """Whether a window was open at any second from the run's beginning to the call: two minutes in three are."""
    seconds = range(int((sent - began).total_seconds()) + 1)
    return any((began + timedelta(seconds=each) - first) // timedelta(minutes=1) % 3 != 2 for each in seconds)
