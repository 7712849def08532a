"""Owns the sentences that every format of a plan shares, so that they say the same everywhere."""

from __future__ import annotations

from reconciler.model import Action, Disk
from reconciler.plan import Change, Plan, PoolPlan, Totals

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


def count(number: int, one: str, many: str = "") -> str:
    """``1 disk``, ``2 disks``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def summary(totals: Totals) -> str:
    """Terraform's own line, which parsers look for."""
    return f"Plan: {totals.add} to add, {totals.change} to change, {totals.destroy} to destroy."


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
    bound = "up to " if lost.upper_bound else ""
    worst = (
        " (the worst case: the service decides which desktops are reached)" if lost.upper_bound else ""
    )
    sessions = f", {lost.live_sessions} of them connected right now" if lost.live_sessions else ""
    return (
        f"{bound}{count(lost.copies, 'copy', 'copies')} on {count(lost.desktops, 'desktop')}, "
        f"{lost.gigabytes} GB, {count(lost.users, 'user')} affected{sessions}{worst}"
    )


def address(pool: PoolPlan, change: Change) -> str:
    """``pool name/disk id``; a disk that does not exist yet has its type and size instead."""
    if change.live:
        return f"{pool.label}/{change.live.id or '(no id)'}"
    wanted = change.desired
    return f"{pool.label}/({wanted.type} {wanted.size} GB)" if wanted else f"{pool.label}/?"


def disk_words(disk: Disk) -> str:
    """``SSD 100 GB``."""
    return f"{disk.type} {disk.size} GB"


def reason(change: Change) -> str:
    """Why this happens, for a person."""
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
