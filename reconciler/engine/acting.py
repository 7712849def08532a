"""Keeps as whom a run acts: in its events and in its summary, for ``history``. Who that is decides ``identity``."""

from __future__ import annotations

from reconciler.apply.context import RunContext
from reconciler.journal.records import IDENTITIES, IDENTITY
from reconciler.planner import connected
from reconciler.planning.plan import Plan


def record_identities(ctx: RunContext, run_id: str) -> None:
    """Record as whom each target is opened; nothing where that is not known."""
    services = [each.service for each in connected(ctx.connections).values()]
    detail = {str(each.target): str(each.whom) for each in services if each.whom}
    if detail:
        ctx.journal.record_event(run_id, IDENTITY, detail)


def identities(plan: Plan | None) -> dict[str, object]:
    """The distinct identities of a plan, sorted, as an entry of a summary; empty when none is known."""
    found = sorted({str(each.whom) for each in plan.services if each.whom}) if plan else []
    return {IDENTITIES: found} if found else {}
