"""Scheduled runs: detect drift and record it, and remediate what a policy allows.

Which drift may be remediated is left to ``planning.drift``, carrying it out to ``engine.apply``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from reconciler import __version__
from reconciler.apply.context import Options, RunContext
from reconciler.apply.results import ApplyReport, DriftReport, Due, LivePool, live_pool
from reconciler.engine.acting import identities, record_identities
from reconciler.engine.announcements import announce
from reconciler.engine.apply import ApplyRequest, apply
from reconciler.engine.holds import open_alarms, standing_holds
from reconciler.engine.known import known_of
from reconciler.engine.marks import keep_marks
from reconciler.errors import ExitCode, JournalError, ReconcilerError, Refused
from reconciler.journal.budget import midnight, words
from reconciler.journal.records import Alarm, DayBudget, DriftPoint, Operation, PoolKey
from reconciler.model import DriftPolicy, Limits, Manifest, Target
from reconciler.planner import DEFAULT_LIFETIME, compute, connected
from reconciler.planning.drift import (
    BEING_CHANGED,
    ChangeKey,
    Measure,
    Past,
    Permission,
    allowed,
    is_being_changed,
    measure,
    narrow,
)
from reconciler.planning.finding import Finding, Severity
from reconciler.planning.guards import run_checks
from reconciler.planning.marks import Marks, surplus, waiting
from reconciler.planning.plan import Loss, Plan, PoolPlan
from reconciler.planning.policy import unattended
from reconciler.values import replace

REMEDIATION = "correct"
"""How the journal names a remediation run; a run that only detects is called ``drift``."""
ROUNDS = ("drift",)
"""The runs of which each round has one."""
EVER = datetime(1970, 1, 1, tzinfo=UTC)
"""Before the first point of any journal."""


async def detect(manifest: Manifest, limits: Limits, ctx: RunContext) -> DriftReport:
    """Plan, measure, and record the measures in the journal; never writes to the service."""
    journal = ctx.journal
    run_id = ctx.new_id()
    journal.open_run(run_id, "drift", __version__, [str(target) for target in manifest.targets])
    summary: dict[str, object]
    code, digest, summary = ExitCode.ERROR, "", {"pools": 0, "surplus": 0, "missing": 0, "differing": 0}
    try:
        record_identities(ctx, run_id)
        # Asked before and after: an operation that began or ended while the pools were read makes a reading
        # of its pool worthless, which may show its disks half done.
        changing = _being_changed(ctx)
        services = [each.service for each in connected(ctx.connections).values()]
        known = known_of(journal, services, standing_holds(journal, services))
        plan = await compute(manifest, limits, ctx.connections, ctx.plan_metadata(DEFAULT_LIFETIME), known)
        plan = set_aside(plan, changing | _being_changed(ctx))
        measures = _measures(plan)
        journal.add_drift(_points(measures, plan, run_id, ctx))
        unresolved = _unresolved(plan, ctx)
        alarms = open_alarms(ctx.journal, services)
        code, digest = _detection_code(plan, measures, unresolved, alarms), plan.digest
        summary = {
            "pools": len(measures),
            "surplus": sum(each.surplus for each in measures),
            "missing": sum(each.missing for each in measures),
            "differing": sum(each.differing for each in measures),
            **identities(plan),
        }
    except BaseException as error:
        interrupted = ExitCode.TERMINATED if ctx.stop.terminated else ExitCode.INTERRUPTED
        code = getattr(error, "exit_code", interrupted if ctx.stop.requested else ExitCode.ERROR)
        raise
    finally:
        journal.close_run(run_id, int(code), digest, summary)
    before = journal.last_started(ROUNDS, [str(target) for target in manifest.targets], run_id)
    return DriftReport(
        run_id,
        plan,
        measures,
        unresolved=unresolved,
        open_operations=_open(plan, ctx),
        alarms=alarms,
        became_due=became_due(plan, known.marks, before),
        exit_code=code,
    )


def became_due(plan: Plan, marks: Marks, before: datetime | None) -> tuple[Due, ...]:
    """The disks that go now and were still waiting in the round that began ``before``; None: there was none."""
    found: list[Due] = []
    for pool in plan.pools:
        for disk_id in sorted(surplus(pool)) if pool.live else ():
            mark = marks.of.get((str(pool.target), pool.live.id if pool.live else "", disk_id))
            waits = waiting(mark, pool.grace)
            is_marked = any(each.live and each.live.id == disk_id for each in pool.waiting)
            if not waits or not waits.due or not marks.now or is_marked or waits.due > marks.now:
                continue
            if before is None or waits.due > before:
                found.append(Due(pool, disk_id, waits.due))
    return tuple(found)


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


async def remediate(manifest: Manifest, limits: Limits, ctx: RunContext, unsettled: str = "") -> DriftReport:
    """Detect, then apply what the manifest's drift policies allow right now: one attempt per change.

    ``unsettled``: why the manifest may not be acted on yet; empty when it may. When the remediation as a whole
    is refused, the report says why; what was detected is recorded either way.
    """
    narrowed = narrow(manifest)
    report = await detect(narrowed, limits, ctx)
    if unsettled:
        drifts = any(each.drifts for each in report.measures)
        return replace(report, refused=(_waits(unsettled),) if drifts else ())
    # Of the whole manifest, also of pools that no policy lets be corrected, as with a person's apply.
    round_ = replace(ctx, run_id=report.run_id)
    plan = await announce(keep_marks(report.plan, manifest, round_), manifest, round_)
    report = replace(report, plan=plan, measures=_measures(plan))
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
        budgets=_budgets(narrowed),
    )
    try:
        applied = await apply(request, ctx)
    except ReconcilerError as error:  # apply raises only before anything is sent
        report = replace(report, error=error)
    else:
        report = _up_to_date(replace(report, applied=applied), applied, ctx)
    try:
        report = _kept(report, ctx)
    except JournalError as error:  # what was done must still reach the user
        report = replace(report, error=report.error or error)
    return replace(report, exit_code=_remediation_code(report))


def _waits(unsettled: str) -> Finding:
    """Why a round corrects nothing by files that somebody may be writing."""
    return Finding(
        rule="drift-unsettled",
        message=f"{unsettled}, so nothing is corrected by them yet",
        source="the files themselves",
        allow="wait for the next round; it corrects if they are the same by then",
    )


def _up_to_date(report: DriftReport, applied: ApplyReport, ctx: RunContext) -> DriftReport:
    """The report with the later plan of the pools that are settled by now, by this run or by resolving.

    What blocked such a pool at first, or had been tried before, no longer matters.
    """
    if not applied.plan:
        return report
    aside = set_aside(applied.plan, _being_changed(ctx))
    resolved = {each.operation.intent.pool for each in applied.resolutions if each.resolved}
    settled = {(key.target, key.pool_id) for key in resolved}
    settled |= {(str(target), pool_id) for target, pool_id in applied.proven_pools}
    later = {(str(pool.target), pool.live.id): pool for pool in aside.pools if pool.live}
    pools = tuple(
        later.get(key, pool) if pool.live and (key := (str(pool.target), pool.live.id)) in settled else pool
        for pool in report.plan.pools
    )
    # Resolving has proven an earlier run's work since the first plan, so that is no drift any more.
    measures = _measures(aside) if resolved else report.measures
    report = replace(report, plan=replace(report.plan, pools=pools), measures=measures)
    left = {each.pool.label for each in report.measures_now if each.drifts}
    refused = tuple(each for each in report.refused if not each.pool or each.pool in left)
    return replace(report, refused=refused)


def _kept(report: DriftReport, ctx: RunContext) -> DriftReport:
    """Record the drift that remains."""
    if applied := report.applied:
        points = _points(report.measures_now, report.plan, applied.run_id, ctx, only=applied.proven_pools)
        ctx.journal.add_drift(points)
    alarms = open_alarms(ctx.journal, report.plan.services)
    unresolved, still_open = _unresolved(report.plan, ctx), _open(report.plan, ctx)
    return replace(report, unresolved=unresolved, open_operations=still_open, alarms=alarms)


class _Remediation:
    """The approval in place of a person's: the policy, checked again on the plan that is to be carried out."""

    def __init__(self, policies: Sequence[DriftPolicy], ctx: RunContext) -> None:
        self._policies = tuple(policies)
        self._ctx = ctx

    async def approve(self, plan: Plan) -> None:
        """Raise ``Refused`` unless everything in the plan is allowed now."""
        if plan.run_blocked:
            raise _limits_win(plan, self._policies, self._ctx)
        acting = [pool for pool in plan.pools if pool.pending and not pool.blocked]
        # Checked on this plan, not on the first one: the pools, the time and the budget may have moved on.
        permission = _permission(plan, self._policies, self._ctx)
        permitted = {pool.desired for pool in permission.pools}
        if any(pool.desired not in permitted for pool in acting):
            reasons = "; ".join(finding.message for finding in permission.refused)
            raise Refused(
                f"what may be remediated changed during the run: {reasons}; nothing was sent",
                "the next run decides again",
            )


def _budgets(manifest: Manifest) -> dict[Target, DayBudget]:
    """What each target's policy lets go in a day; the journal holds every removal to it when it is opened.

    Nothing is reserved before: a run that dies, or does less than it was allowed, holds nothing of the day.
    """
    none = {target: DayBudget(0, "no drift policy") for target in manifest.targets}
    return none | {each.target: DayBudget(each.disks_per_day, str(each.at)) for each in manifest.drift}


def _limits_win(plan: Plan, policies: Sequence[DriftPolicy], ctx: RunContext) -> Refused:
    """Why nothing is corrected although the day has room: the run would pass a limit, in one sentence."""
    over = "; ".join(
        f"{each.message} ({each.source})" for each in plan.findings if each.severity is Severity.BLOCK
    )
    names = {service.target: service.name for service in plan.services}
    since, rooms = midnight(ctx.journal.now()), []
    for policy in policies:
        if policy.target in names:
            used = ctx.journal.removed_since(str(policy.target), names[policy.target], since)
            room = max(policy.disks_per_day - used, 0)
            rooms.append(
                f"disks_per_day: {policy.disks_per_day} ({policy.at}) has room for {room} more today"
            )
    return Refused(
        f"a limit of one run stops it: {over}, although {' and '.join(rooms)}; nothing was sent",
        "limits win, since they bound what one run may destroy: raise the limit, or apply a part by hand",
    )


def _permission(plan: Plan, policies: Sequence[DriftPolicy], ctx: RunContext) -> Permission:
    """What may be remediated now, over all targets of the plan."""
    by_target = {policy.target: policy for policy in policies}
    now = ctx.journal.now()
    found: list[Permission] = []
    for service in plan.services:
        used = ctx.journal.uses_since(str(service.target), service.name, midnight(now))
        past = Past(
            sum(each.disks for each in used),
            frozenset(
                key
                for each in ctx.journal.not_done(str(service.target), service.name)
                for key in _changes(each)
            ),
            words(used),
        )
        pools = [pool for pool in plan.pools if pool.target == service.target]
        found.append(allowed(pools, by_target.get(service.target), now, past))
    permitted = Permission(
        tuple(pool for each in found for pool in each.pools),
        tuple(finding for each in found for finding in each.refused),
    )
    return unattended(permitted, ctx.policy, now)


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
    found = {
        PoolKey(str(each.pool.target), services[each.pool.target], each.pool.live.id): each
        for each in measures
        if each.pool.live is not None and (only is None or live_pool(each.pool) in only)
    }
    calm = [key for key, each in found.items() if not (each.surplus or each.missing)]
    # However long ago: a later drift must not look as if it had gone on since then.
    kept = found.keys() - calm | ctx.journal.drifting(calm, EVER)
    return [
        DriftPoint(run_id, now, key, each.pool.label, each.surplus, each.missing, each.surplus_gb)
        for key, each in found.items()
        if key in kept
    ]


def _changes(operation: Operation) -> Iterator[ChangeKey]:
    """The changes that an operation was to make."""
    for disk in operation.intent.disks:
        yield disk.id or operation.intent.pool.pool_id, disk.type, disk.size


def _unresolved(plan: Plan, ctx: RunContext) -> int:
    """Open operations whose runs are gone; those of a run that is alive are being changed, not unresolved."""
    now = ctx.journal.now()  # leases go by its clock
    return sum(
        each.lease_until <= now
        for service in plan.services
        for each in ctx.journal.unresolved(str(service.target), service.name)
    )


def _open(plan: Plan, ctx: RunContext) -> int:
    """Open operations, those of runs that are alive included."""
    services = plan.services
    return sum(len(ctx.journal.unresolved(str(each.target), each.name)) for each in services)


def _being_changed(ctx: RunContext) -> dict[PoolKey, Operation]:
    """The open operations whose runs are alive, by pool."""
    now = ctx.journal.now()  # leases go by its clock
    return {each.intent.pool: each for each in ctx.journal.unresolved() if each.lease_until > now}


def _detection_code(
    plan: Plan, measures: Sequence[Measure], unresolved: int, alarms: Sequence[Alarm]
) -> ExitCode:
    """The exit code of what was measured; never DONE where something could not be decided."""
    if plan.failures:
        return ExitCode(plan.failures[0].exit_code)
    if any(each.drifts for each in measures):
        return ExitCode.CHANGES
    if plan.blocked or alarms:
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
    return _detection_code(report.plan, report.measures_now, report.unresolved, report.alarms)
