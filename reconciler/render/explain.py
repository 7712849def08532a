"""Owns the explanation of one pool: what matched what, by which rule, and what every guard measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reconciler.model import DesiredDisk, Disk, Pool
from reconciler.planning.guards import pool_checks, run_checks
from reconciler.planning.plan import Finding, Plan, PoolPlan, Severity
from reconciler.render import words
from reconciler.render.json import finding_json
from reconciler.render.text import Line, Tone

_MARKS = {
    Severity.PASS: ("ok", Tone.ADD),
    Severity.WARN: ("!", Tone.WARN),
    Severity.BLOCK: ("NO", Tone.BLOCK),
}


def checks(plan: Plan, pool: PoolPlan) -> list[Finding]:
    """Every guard with its number, passed or not: those of matching, of the pool, and of the run."""
    own = list(pool_checks(pool)) if pool.live else []
    seen = {(each.rule, each.message) for each in own}
    others = [each for each in pool.findings if (each.rule, each.message) not in seen]
    return [*others, *own, *run_checks(plan.pools, plan.limits)]


def explain_lines(plan: Plan, pool: PoolPlan) -> Iterator[Line]:
    """The whole explanation for a terminal."""
    live = pool.live
    yield Line(
        f"Pool {pool.label}{f' ({live.id})' if live else ''}, declared at {pool.desired.at}", Tone.STRONG
    )
    if live:
        yield Line(
            f"  {live.status}, {'pay-per-use' if live.charging_mode == '1' else 'prepaid or unknown'}, "
            f"{_desktops(live)}, {live.desktop_used} in use"
        )
    yield Line()
    yield Line(
        "Live disk                              Declared                       What and why", Tone.STRONG
    )
    for change in pool.changes:
        yield Line(
            f"{_live(change.live):<50} {_declared(change.desired):<24} {change.action.value}: "
            f"{words.reason(change)}{'' if change.carried_out or change.action == 'keep' else ' (not managed)'}"
        )
        for note in words.drift_notes(change):
            yield Line(f"{'':<76}{note} (shown only)", Tone.FAINT)
    for tie in pool.ties:
        for disk in tie.candidates:
            yield Line(f"{_live(disk):<50} {'':<24} undecided: {tie.remove} of {len(tie.candidates)} must go")
    yield Line()
    yield Line("Guard                 Measured  Limit  Set at", Tone.STRONG)
    for check in checks(plan, pool):
        mark, tone = _MARKS[check.severity]
        yield Line(
            f"{mark:>2} {check.rule:<20} {_number(check.measured):>7}  {_number(check.limit):>5}  {check.source}",
            tone,
        )
        yield Line(f"     {check.message}", Tone.FAINT)
        if check.allow and check.severity is not Severity.PASS:
            yield Line(f"     to allow: {check.allow}", Tone.FAINT)


def explain_json(plan: Plan, pool: PoolPlan) -> dict[str, Any]:
    """The same as JSON values."""
    return {
        "pool": pool.label,
        "id": pool.live.id if pool.live else None,
        "declared_at": str(pool.desired.at),
        "disks": [
            {
                "live": _live(change.live) or None,
                "declared": _declared(change.desired) or None,
                "action": change.action.value,
                "rule": change.rule.value,
                "carried_out": change.carried_out,
                "differs": list(change.differs),
            }
            for change in pool.changes
        ],
        "guards": [finding_json(each) for each in checks(plan, pool)],
    }


def _desktops(live: Pool) -> str:
    known = live.desktop_count is not None
    return words.count(live.desktop_count or 0, "desktop") if known else "desktops not counted"


def _live(disk: Disk | None) -> str:
    return f"{disk.id or '(no id)'} {disk.type} {disk.size}" if disk else ""


def _declared(entry: DesiredDisk | None) -> str:
    return (
        f"{entry.type} {entry.size} {'pinned ' if entry.id else ''}{entry.at.line}:{entry.at.column}"
        if entry
        else ""
    )


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)
