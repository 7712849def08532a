"""Scheduled runs: detect drift and record it, and remediate what a policy allows.

Which drift may be remediated is left to ``planning.drift``, carrying it out to ``engine.apply``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from reconciler import __version__
from reconciler.apply.context import Options, RunContext
from reconciler.apply.results import DriftReport, LivePool, live_pool
from reconciler.engine.apply import DEFAULT_LIFETIME, ApplyRequest, apply
from reconciler.engine.known import known_of
from reconciler.errors import ExitCode, JournalError, ReconcilerError, Refused
from reconciler.journal.records import NOT_APPLIED, DriftPoint, Journal, Operation, PoolKey, Step
from reconciler.model import DriftPolicy, Limits, Manifest
from reconciler.planner import Connection, compute
from reconciler.planning.drift import (
    BEING_CHANGED,
    MEMORY,
    ChangeKey,
    Measure,
    Past,
    Permission,
    allowed,
    is_being_changed,
    measure,
    narrow,
    removals_of,
)
from reconciler.planning.finding import Finding, Severity
from reconciler.planning.guards import run_checks
from reconciler.planning.plan import Loss, Plan, PoolPlan, Service

REMEDIATION = "correct"
"""How the journal names a remediation run; a run that only detects is called ``drift``."""


async def detect(manifest: Manifest, limits: Limits, ctx: RunContext) -> DriftReport:
    """Plan, measure, and record the measures in the journal; never writes to the service."""
    journal = ctx.journal
    run_id = ctx.new_id()
    journal.open_run(run_id, "drift", __version__, [str(target) for target in manifest.targets])
    code, digest, summary = ExitCode.ERROR, "", {"pools": 0, "surplus": 0, "missing": 0, "differing": 0}
    try:
        # Asked before and after: an operation that began or ended while the pools were read makes a reading
        # of its pool worthless, which may show its disks half done.
        changing = _being_changed(ctx)
        services = [each.service for each in ctx.connections.values() if isinstance(each, Connection)]
        known = known_of(journal, services, {})
        plan = await compute(manifest, limits, ctx.connections, ctx.plan_metadata(DEFAULT_LIFETIME), known)
        plan = set_aside(plan, changing | _being_changed(ctx))
        measures = _measures(plan)
        journal.add_drift(_points(measures, plan, run_id, ctx))
        unresolved = _unresolved(plan, ctx)
        code, digest = _detection_code(plan, measures, unresolved), plan.digest
        summary = {
            "pools": len(measures),
            "surplus": sum(each.surplus for each in measures),
            "missing": sum(each.missing for each in measures),
            "differing": sum(each.differing for each in measures),
        }
    except BaseException as error:
        interrupted = ExitCode.TERMINATED if ctx.stop.terminated else ExitCode.INTERRUPTED
        code = getattr(error, "exit_code", interrupted if ctx.stop.requested else ExitCode.ERROR)
        raise
    finally:
        journal.close_run(run_id, int(code), digest, summary)
    return DriftReport(run_id, plan, measures, unresolved=unresolved, exit_code=code)


def set_aside(plan: Plan, changing: Mapping[PoolKey, Operation]) -> Plan:
    """The plan in which a pool that a run is changing right now holds nothing but a warning that says so."""
    names = {service.target: service.name for service in plan.services}

    def looked_at(pool: PoolPlan) -> PoolPlan:
        if pool.live is None or pool.target not in names:
            return pool
        found = changing.get(PoolKey(str(pool.target), names[pool.target], pool.live.id))
        if found is None:
            return pool
        warning = Finding(
            rule=BEING_CHANGED,
            message=f"being changed by run {found.intent.run_id} since {found.opened:%H:%M:%S} UTC, so it was "
            "not measured",
            severity=Severity.WARN,
            pool=pool.label,
            source="the journal",
        )
        return replace(
            pool, changes=(), ties=(), leftovers=(), loss=Loss(), disk_losses=(), findings=(warning,)
        )

    pools = tuple(map(looked_at, plan.pools))
    if pools == plan.pools:
        return plan
    # What a run is changing loses nothing by this plan, so it takes nothing from the limits either.
    limits = tuple(each for each in run_checks(pools, plan.limits) if each.severity is not Severity.PASS)
    others = tuple(each for each in plan.findings if not each.rule.startswith("limit-"))
    return replace(plan, pools=pools, findings=(*limits, *others))


def _measures(plan: Plan) -> tuple[Measure, ...]:
    """The measures of all pools that no run is changing."""
    return tuple(each for each in measure(plan) if not is_being_changed(each.pool))


async def remediate(manifest: Manifest, limits: Limits, ctx: RunContext) -> DriftReport:
    """Detect, then apply what the manifest's drift policies allow right now: one attempt per change.

    When the remediation as a whole is refused, the report says why; what was detected is recorded either way.
    """
    narrowed = narrow(manifest)
    report = await detect(narrowed, limits, ctx)
    permission = _permission(report.plan, manifest.drift, ctx)
    report = replace(report, refused=permission.refused)
    if not permission.pools and not report.unresolved:
        return replace(report, exit_code=_remediation_code(report))
    remediation = _Remediation(manifest.drift, ctx)
    request = ApplyRequest(
        manifest=_only(narrowed, permission.pools),
        limits=limits,
        approve=remediation.approve,
        options=Options(tries=1),
        command=REMEDIATION,
    )
    try:
        applied = await apply(request, ctx)
    except ReconcilerError as error:  # apply raises only before anything is sent, so the budget is unused
        report = replace(report, error=error)
        with suppress(JournalError):
            remediation.give_back("")
    else:
        report = replace(report, applied=applied)
        if applied.plan and any(each.resolved for each in applied.resolutions):
            # Resolving has proven an earlier run's work since the first plan, so that is no drift any more.
            aside = set_aside(applied.plan, _being_changed(ctx))
            report = replace(report, measures=_measures(aside))
    try:
        report = _kept(report, remediation, ctx)
    except JournalError as error:  # what was done must still reach the user
        report = replace(report, error=report.error or error)
    return replace(report, exit_code=_remediation_code(report))


def _kept(report: DriftReport, remediation: _Remediation, ctx: RunContext) -> DriftReport:
    """Return what is left of the day's budget, and record the drift that remains."""
    if applied := report.applied:
        remediation.give_back(applied.run_id)
        points = _points(report.measures_now, report.plan, applied.run_id, ctx, only=applied.proven_pools)
        ctx.journal.add_drift(points)
    return replace(report, unresolved=_unresolved(report.plan, ctx))


class _Remediation:
    """The approval in place of a person's: the policy, checked again, and the day's budget, reserved in advance."""

    def __init__(self, policies: Sequence[DriftPolicy], ctx: RunContext) -> None:
        self._policies = {policy.target: policy for policy in policies}
        self._ctx = ctx
        self._day = ""
        self._taken: list[tuple[Service, int]] = []

    async def approve(self, plan: Plan) -> None:
        """Raise ``Refused`` unless everything in the plan is allowed now and fits into the day's budget."""
        if plan.run_blocked:
            return  # apply refuses such a plan with the findings
        acting = [pool for pool in plan.pools if pool.pending and not pool.blocked]
        # Checked on this plan, not on the first one: the pools, the time and the budget may have moved on.
        permission = _permission(plan, tuple(self._policies.values()), self._ctx)
        permitted = {pool.desired for pool in permission.pools}
        if any(pool.desired not in permitted for pool in acting):
            reasons = "; ".join(finding.message for finding in permission.refused)
            raise Refused(
                f"what may be remediated changed during the run: {reasons}; nothing was sent",
                "the next run decides again",
            )
        now = self._ctx.journal.now()
        self._day = f"{now:%Y-%m-%d}"
        for service in plan.services:
            self._take(
                service, sum(removals_of(pool) for pool in acting if pool.target == service.target), now
            )

    def _take(self, service: Service, disks: int, now: datetime) -> None:
        if not disks:
            return
        journal, policy = self._ctx.journal, self._policies[service.target]
        # Reserved before the removals and in one statement: counting first and removing later would let two
        # runs spend the same rest of the budget. Removals by hand reserve nothing, so they lower the ceiling.
        by_hand = _removed_by_hand(service, journal, _midnight(now))
        ceiling = policy.disks_per_day - by_hand
        if journal.reserve_budget(_scope(service), self._day, disks, ceiling):
            self._taken.append((service, disks))
            return
        self.give_back("")
        raise Refused(
            f"{disks} more disks would exceed the {policy.disks_per_day} per UTC day that the policy of "
            f"{service.target} allows ({policy.at}): other runs have used the rest; nothing was sent",
            "wait for 00:00 UTC, raise disks_per_day, or apply by hand",
        )

    def give_back(self, run_id: str) -> None:
        """Return to the day's budget what the run reserved but certainly did not remove.

        An operation without a known result counts as removed: the budget may only err towards fewer removals.
        """
        record = self._ctx.journal.run(run_id)
        for service, disks in self._taken:
            removed = sum(
                len(each.intent.disks)
                for each in (record.operations if record else ())
                if each.intent.run_id == run_id and _counts(each) and _of(each, service)
            )
            if spare := disks - removed:
                ceiling = self._policies[service.target].disks_per_day
                self._ctx.journal.reserve_budget(_scope(service), self._day, -spare, ceiling)
        self._taken.clear()


def _permission(plan: Plan, policies: Sequence[DriftPolicy], ctx: RunContext) -> Permission:
    """What may be remediated now, over all targets of the plan."""
    by_target = {policy.target: policy for policy in policies}
    now = ctx.journal.now()
    found: list[Permission] = []
    for service in plan.services:
        past = Past(
            ctx.journal.removed_since(str(service.target), service.name, _midnight(now)),
            frozenset(
                key
                for each in ctx.journal.not_done(str(service.target), service.name)
                for key in _changes(each)
            ),
        )
        pools = [pool for pool in plan.pools if pool.target == service.target]
        found.append(allowed(pools, by_target.get(service.target), now, past))
    return Permission(
        tuple(pool for each in found for pool in each.pools),
        tuple(finding for each in found for finding in each.refused),
    )


def _only(manifest: Manifest, pools: Sequence[PoolPlan]) -> Manifest:
    """The manifest with only these pools managed.

    The others stay declared, because guards over the whole run must see the same pools as before.
    """
    chosen = {pool.desired for pool in pools}
    kept = (each if each in chosen else replace(each, manage=frozenset()) for each in manifest.pools)
    return replace(manifest, pools=tuple(kept))


def _points(
    measures: Sequence[Measure],
    plan: Plan,
    run_id: str,
    ctx: RunContext,
    only: frozenset[LivePool] | None = None,
) -> list[DriftPoint]:
    """What the journal keeps for the trend: every pool with drift, and a zero for one whose drift has just ended.

    A row for each of ten thousand pools, four times an hour, would be a million rows a day.
    """
    now = ctx.clock.now()
    services = {service.target: service.name for service in plan.services}
    latest = {point.pool: point for point in ctx.journal.drift(now - MEMORY)}
    points: list[DriftPoint] = []
    for each in measures:
        if each.pool.live is None or (only is not None and live_pool(each.pool) not in only):
            continue
        key = PoolKey(str(each.pool.target), services[each.pool.target], each.pool.live.id)
        before = latest.get(key)
        if each.surplus or each.missing or (before and (before.surplus or before.missing)):
            points.append(
                DriftPoint(run_id, now, key, each.pool.label, each.surplus, each.missing, each.surplus_gb)
            )
    return points


def _changes(operation: Operation) -> Iterator[ChangeKey]:
    """The changes that an operation was to make."""
    for disk in operation.intent.disks:
        yield disk.id or operation.intent.pool.pool_id, disk.type, disk.size


def _removed_by_hand(service: Service, journal: Journal, since: datetime) -> int:
    """Disks removed since then by runs other than remediations, which reserve nothing from the budget."""
    removals = [each for each in journal.operations(since) if _of(each, service) and _counts(each)]
    records = {run: journal.run(run) for run in {each.intent.run_id for each in removals}}
    remediations = {run for run, record in records.items() if record and record.run.command == REMEDIATION}
    by_hand = sum(len(each.intent.disks) for each in removals if each.intent.run_id not in remediations)
    # What a damaged record removed is not known, nor whose it was: it counts as by hand, and as much as can be.
    sound = sum(len(each.intent.disks) for each in removals)
    return by_hand + journal.removed_since(str(service.target), service.name, since) - sound


def _counts(operation: Operation) -> bool:
    """True for a removal that took, or may yet take, effect."""
    return operation.intent.step is Step.REMOVE and operation.state not in NOT_APPLIED


def _of(operation: Operation, service: Service) -> bool:
    pool = operation.intent.pool
    return (pool.target, pool.service) == (str(service.target), service.name)


def _unresolved(plan: Plan, ctx: RunContext) -> int:
    """Open operations whose runs are gone; those of a run that is alive are being changed, not unresolved."""
    now = ctx.clock.now()
    return sum(
        each.lease_until <= now
        for service in plan.services
        for each in ctx.journal.unresolved(str(service.target), service.name)
    )


def _being_changed(ctx: RunContext) -> dict[PoolKey, Operation]:
    """The open operations whose runs are alive, by pool."""
    now = ctx.clock.now()
    return {each.intent.pool: each for each in ctx.journal.unresolved() if each.lease_until > now}


def _detection_code(plan: Plan, measures: Sequence[Measure], unresolved: int) -> ExitCode:
    """The exit code of what was measured; never DONE where something could not be decided."""
    if plan.failures:
        return ExitCode(plan.failures[0].exit_code)
    if any(each.drifts for each in measures):
        return ExitCode.CHANGES
    if plan.blocked:
        return ExitCode.REFUSED
    if unresolved:
        return ExitCode.UNKNOWN
    if any(map(is_being_changed, plan.pools)):
        return ExitCode.HELD
    undecided = len(measures) < len(plan.pools) or plan.leftovers_unread
    return ExitCode.REFUSED if undecided else ExitCode.DONE


def _remediation_code(report: DriftReport) -> ExitCode:
    """The exit code of the remediation unless it is DONE, else that of the remaining drift."""
    if report.error:
        return report.error.exit_code
    if report.applied and report.applied.exit_code is not ExitCode.DONE:
        return report.applied.exit_code
    return _detection_code(report.plan, report.measures_now, report.unresolved)


def _midnight(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _scope(service: Service) -> str:
    return f"drift {service.target} {service.name}"
