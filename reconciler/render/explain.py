"""Explains one pool: which disks were matched, by which rule, and what every guard measured.

``planning`` does the matching and evaluates the guards.
"""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.model import DesiredDisk, Disk, Pool
from reconciler.planning import policy
from reconciler.planning.change import Change
from reconciler.planning.finding import Finding, Severity
from reconciler.planning.guards import PAY_PER_USE, PREPAID, pool_checks, pool_share, run_checks
from reconciler.planning.plan import Plan, PoolPlan
from reconciler.render import words
from reconciler.render.line import Line, Tone, count
from reconciler.render.text import leftover_lines

_MARKS = {
    Severity.PASS: ("ok", Tone.ADD),
    Severity.WARN: ("!", Tone.WARN),
    Severity.BLOCK: ("NO", Tone.BLOCK),
}
_CHARGING = {PREPAID: "prepaid", PAY_PER_USE: "pay-per-use"}


def checks(plan: Plan, pool: PoolPlan) -> list[Finding]:
    """Every guard with its number, passed or not: of the matching, the pool and the run."""
    own = list(pool_checks(pool)) if pool.live else []
    if plan.policy and pool.live:
        own += policy.pool_checks(pool, plan.policy)
    seen = {(each.rule, each.message) for each in own}
    others = [each for each in pool.findings if (each.rule, each.message) not in seen]
    run = [one for each in run_checks(plan.pools, plan.limits) for one in _of_pool(each, plan, pool)]
    if plan.policy:
        run += policy.run_checks(plan.pools, plan.policy, plan.created)
    return [*others, *own, *run]


def _of_pool(check: Finding, plan: Plan, pool: PoolPlan) -> Iterator[Finding]:
    """The run's guard; of the one that names the worst pool, what it says of this one, and the worst if it blocks."""
    own = pool_share(pool, plan.limits)
    if check.rule != own.rule or not pool.live:
        yield check
        return
    yield own
    if check.severity is Severity.BLOCK and check != own:
        yield check


def explain_lines(plan: Plan, pool: PoolPlan) -> Iterator[Line]:
    """The explanation for the console."""
    found = pool.live
    yield Line(
        f"Pool {pool.label}{f' ({found.id})' if found else ''}, declared at {pool.desired.at}", Tone.STRONG
    )
    if found:
        yield Line(
            f"  {found.status or 'state not known'}, {_CHARGING.get(found.charging_mode, 'charging not known')}, "
            f"{_desktops(found)}, {found.desktop_used} in use"
        )
        for note in list(words.particulars(pool)) or words.pool_particulars(found):
            yield Line(f"  {note}")
    if plan.policy:
        yield Line(f"  {words.policy_words(plan.policy)}")
    yield Line()
    for change in pool.changes:
        yield Line(
            f"{change.action.value}: {words.reason(change)}{_not_carried_out(pool, change)}", Tone.STRONG
        )
        yield Line(f"  live      {live(change.live) or '-'}")
        yield Line(f"  declared  {declared(change.desired) or '-'}")
        for note in words.drift_notes(change):
            yield Line(f"  {note} (shown only)", Tone.FAINT)
    for tie in pool.ties:
        for disk in tie.candidates:
            yield Line(f"undecided: {tie.remove} of {len(tie.candidates)} must be removed", Tone.STRONG)
            yield Line(f"  live      {live(disk)}")
    yield from leftover_lines(pool)
    yield Line()
    found_checks = checks(plan, pool)
    width = max(len(each.rule) for each in found_checks)
    yield Line(f"   {'Guard':<{width}} Measured   Limit  Set at", Tone.STRONG)
    for check in found_checks:
        mark, tone = _MARKS[check.severity]
        yield Line(
            f"{mark:>2} {check.rule:<{width}} {_number(check.measured):>8}  {_number(check.limit):>6}  {check.source}",
            tone,
        )
        yield Line(f"     {check.message}", Tone.FAINT)
        if check.allow and check.severity is not Severity.PASS:
            yield Line(f"     to allow: {check.allow}", Tone.FAINT)


def _not_carried_out(pool: PoolPlan, change: Change) -> str:
    told = f"; {said}" if (said := words.told(pool, change)) else ""
    if change.waits:
        return f"; {words.waits(change.waits)}{told}"
    if told:
        return told
    return "" if change.carried_out or change.action == "keep" else " (not managed)"


def _desktops(pool: Pool) -> str:
    known = pool.desktop_count is not None
    return count(pool.desktop_count or 0, "desktop") if known else "desktops not counted"


def live(disk: Disk | None) -> str:
    """Id, type and GB of a live disk; empty without one."""
    return f"{disk.id or '(no id)'} {disk.type} {disk.size}" if disk else ""


def declared(entry: DesiredDisk | None) -> str:
    """Type, GB and place of a declared disk; empty without one."""
    return (
        f"{entry.type} {entry.size} {'pinned ' if entry.id else ''}{entry.at.line}:{entry.at.column}"
        if entry
        else ""
    )


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)
