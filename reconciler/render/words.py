"""Owns the sentences that every format of a plan shares, so that they say the same everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.model import Action, ApplyTo, DesiredDisk, Disk
from reconciler.planning.plan import Change, DiskLoss, Plan, PoolPlan, Totals, totals

SYMBOLS = {Action.KEEP: " ", Action.REMOVE: "-", Action.EXPAND: "~", Action.ADD: "+", Action.REPLACE: "-/+"}
FATES = {
    Action.KEEP: "stays as it is",
    Action.REMOVE: "will be destroyed",
    Action.EXPAND: "will be expanded in place",
    Action.ADD: "will be created",
    Action.REPLACE: "must be replaced",
}
REASONS = {
    "PINNED": "the manifest names this very disk",
    "EQUAL": "the manifest declares it",
    "GROWN": "the manifest declares it larger; its data stays",
    "SWAPPED": "no declared disk fits it, and one declared disk is missing",
    "SURPLUS": "no declared disk needs it",
    "MISSING": "declared, but the pool does not have it",
}


@dataclass(frozen=True, slots=True)
class Side:
    """What a disk is before or after a change."""

    type: str
    size: int
    """GB."""


def count(number: int, one: str, many: str = "") -> str:
    """``1 disk``, ``2 disks``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def summary(totals: Totals) -> str:
    """Terraform's own line, which parsers look for."""
    return f"Plan: {totals.add} to add, {totals.change} to change, {totals.destroy} to destroy."


def headline(plan: Plan) -> str:
    """The whole plan in one line: Terraform's totals, or that there is nothing to do."""
    if plan.has_changes:
        return summary(plan.totals)
    if plan.blocked or plan.failures:
        return "No action is planned, but not everything could be decided."
    return f"No changes. {count(len(plan.pools), 'pool')} checked; every managed disk matches."


def inconsistent(plan: Plan) -> str:
    """How many desktops differ from their pool, in one sentence; empty when nobody asked."""
    asked = [pool.inconsistent for pool in plan.pools if pool.inconsistent]
    if not asked:
        return ""
    if not plan.inconsistent_count:
        return f"Every desktop of {count(len(asked), 'pool')} has the disks of its pool."
    pools = sum(bool(each.desktops) for each in asked)
    differ = "differs from its pool" if plan.inconsistent_count == 1 else "differ from their pools"
    return (
        f"{count(plan.inconsistent_count, 'desktop')} in {count(pools, 'pool')} {differ}; "
        "this is only shown, nothing is changed about it."
    )


def verdict(plan: Plan) -> str:
    """Whether findings forbid all of the plan or some of its pools; empty when they forbid nothing."""
    if plan.run_blocked:
        return "Blocked: nothing can be applied while this stands."
    blocked = sum(pool.blocked for pool in plan.pools)
    if not blocked:
        return ""
    return f"{count(blocked, 'pool is', 'pools are')} blocked and will not be changed."


def approval(plan: Plan) -> str:
    """The command that applies exactly what was reviewed."""
    given = [
        f" {limit.source} {limit.value}" for _, limit in plan.limits.items() if limit.source.startswith("--")
    ]
    return f"reconciler apply PATH…{''.join(given)} --approve {plan.digest}"


def destruction(plan: Plan) -> str:
    """One plain sentence on what would be lost for ever; empty when nothing would."""
    lost = plan.totals
    if not lost.destroy:
        return ""
    return (
        f"This destroys {count(lost.destroy, 'disk')} for good: {loss_words(lost)}. "
        "Nobody can restore that data."
    )


def loss_words(lost: Totals) -> str:
    """Copies, desktops, GB and people; says when it is the worst case."""
    worst = " (the worst case: the service decides which desktops are reached)" if lost.upper_bound else ""
    sessions = f", {lost.live_sessions} of them connected right now" if lost.live_sessions else ""
    return f"{amounts(lost)} affected{sessions}{worst}"


def amounts(lost: Totals) -> str:
    """``up to 12 copies on 6 desktops, 1200 GB, 5 users``."""
    bound = "up to " if lost.upper_bound else ""
    return (
        f"{bound}{count(lost.copies, 'copy', 'copies')} on {count(lost.desktops, 'desktop')}, "
        f"{lost.gigabytes} GB, {count(lost.users, 'user')}"
    )


def address(pool: PoolPlan, change: Change) -> str:
    """``pool name/disk id``; a disk that does not exist yet has its type and size instead."""
    if change.live:
        return f"{pool.label}/{change.live.id or '(no id)'}"
    wanted = change.desired
    return f"{pool.label}/({wanted.type} {wanted.size} GB)" if wanted else f"{pool.label}/?"


def pool_summary(pool: PoolPlan) -> str:
    """What happens to one pool and what it loses, without any name in it."""
    told = totals([pool])
    parts = [
        f"{number} to {verb}"
        for number, verb in ((told.destroy, "destroy"), (told.change, "expand"), (told.add, "add"))
        if number
    ] or ["nothing to carry out"]
    if told.destroy:
        parts.append(f"loses {amounts(told)}")
    if pool.blocked:
        parts.append("blocked")
    return ", ".join(parts)


def sides(change: Change) -> tuple[Side | None, Side | None]:
    """The disk before and after; None where there is none."""
    live, wanted = change.live, change.desired
    before = side(live) if live else None
    match change.action:
        case Action.KEEP:
            return before, before
        case Action.REMOVE:
            return before, None
        case _:
            return before, side(wanted) if wanted else None


def side(disk: Disk | DesiredDisk) -> Side:
    """What matters of a disk beside another."""
    return Side(disk.type, disk.size)


def disk_loss(pool: PoolPlan, change: Change) -> DiskLoss | None:
    """What destroying this very disk loses; None when the change destroys nothing."""
    if not (change.destroys and change.live):
        return None
    return next((each for each in pool.disk_losses if each.disk_id == change.live.id), None)


def reach(pool: PoolPlan) -> str:
    """Why the numbers of a loss are the worst case; empty when they are not."""
    if not (pool.loss.disks and pool.loss.upper_bound):
        return ""
    if pool.desired.apply_to is ApplyTo.IDLE:
        return "apply_to is idle; the service does not define idle, so every desktop is counted."
    return "apply_to is not set, so every desktop is assumed to be reached."


def settled(pool: PoolPlan) -> Iterator[Change]:
    """The changes that are decided, one per disk; :func:`candidates` has the others."""
    undecided = {disk.id for disk in candidates(pool)}
    for change in pool.changes:
        if not (change.live and change.live.id in undecided):
            yield change


def candidates(pool: PoolPlan) -> Iterator[Disk]:
    """The disks between which the plan does not choose."""
    for tie in pool.ties:
        yield from tie.candidates


def known(pool: PoolPlan, disk: Disk) -> str:
    """What helps to choose between the disks of a tie; empty when the desktops were not read."""
    found = next((each for each in pool.candidates if each.disk_id == disk.id), None)
    if found is None:
        return ""
    created = f"created {found.created:%Y-%m-%d %H:%M} UTC" if found.created else "creation time not known"
    return (
        f"{count(found.copies, 'copy', 'copies')} on {count(found.desktops, 'desktop')}, "
        f"{count(len(found.users), 'user')}, {created}"
    )


def pin(disk: Disk) -> str:
    """The manifest line that keeps this very disk."""
    return f"- {{id: {disk.id}, type: {disk.type}, size: {disk.size}}}"


def shortened(text: str, most: int) -> str:
    """At most ``most`` characters, and how many more there were."""
    if len(text) <= most:
        return text
    return f"{text[:most]}… ({len(text) - most} more characters)"


def disk_words(disk: Disk | Side) -> str:
    """``SSD 100 GB``."""
    return f"{disk.type} {disk.size} GB"


def reason(change: Change) -> str:
    """Why this happens, for a person."""
    if change.action is Action.KEEP and change.desired is None:
        return "set aside: what was read of it or of its pool cannot be trusted"
    return REASONS[change.rule.name]


def drift_notes(change: Change) -> list[str]:
    """Declared attributes that differ: ``iops: 3000 declared, 1000 live``."""
    if not (change.live and change.desired):
        return []
    return [
        f"{name}: {getattr(change.desired, name)} declared, {_told(getattr(change.live, name))} live"
        for name in change.differs
    ]


def _told(value: object) -> str:
    return "none" if value is None else str(value)
