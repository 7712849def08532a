"""Owns the two stories of scheduled drift: look and keep what was seen; and correct what a policy allows.

Carrying out is the one ``engine.apply``; what may be corrected is decided in ``drift``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from reconciler import __version__
from reconciler.apply.context import Ending, Options, Stop
from reconciler.drift import (
    MEMORY,
    ChangeKey,
    Measure,
    Past,
    Permission,
    allowed,
    measure,
    narrow,
    proven,
    removals_of,
)
from reconciler.engine import DEFAULT_LIFETIME, ApplyReport, ApplyRequest, World, apply, make_plan
from reconciler.errors import ExitCode, JournalError, ReconcilerError, Refused
from reconciler.journal.records import HARMLESS, DriftPoint, Journal, Operation, PoolKey, Step
from reconciler.model import DriftPolicy, Limits, Manifest, Shard, Target
from reconciler.plan import Finding, Plan, PoolPlan, Service
from reconciler.planner import Connections

CORRECTION = "correct"
"""What the journal calls a run that corrected drift; ``drift`` is one that only looked."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a story takes place."""

    connections: Connections
    journal: Journal
    world: World
    stop: Stop = field(default_factory=Stop)
    shard: Shard = field(default_factory=Shard)
    group: str = ""
    """Runs of the same group share their limits through the journal; empty for a run of its own."""


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What one look at drift found, and what was done about it."""

    run_id: str
    plan: Plan
    measures: tuple[Measure, ...]
    refused: tuple[Finding, ...] = ()
    """Why the policy left drift alone; empty when no correction was asked for."""
    applied: ApplyReport | None = None
    """None when nothing was to be corrected, or the correction was refused as a whole."""
    error: ReconcilerError | None = None
    """Why the correction as a whole was refused, or could not begin."""
    unresolved: int = 0
    """Open operations of these targets when it was over."""
    exit_code: ExitCode = ExitCode.DONE

    @property
    def measures_now(self) -> tuple[Measure, ...]:
        """The measures with what this run has proven corrected taken out."""
        done = _done(self.applied)
        return tuple(
            proven(each) if (each.pool.target, each.pool.label) in done else each for each in self.measures
        )


async def look(manifest: Manifest, limits: Limits, around: Surroundings) -> DriftReport:
    """Plan, measure, and keep the measures in the journal; never writes to the service."""
    journal, world = around.journal, around.world
    run_id = world.new_id()
    journal.open_run(run_id, "drift", __version__, [str(target) for target in manifest.targets])
    code, digest, summary = ExitCode.ERROR, "", {"pools": 0, "surplus": 0, "missing": 0, "differing": 0}
    try:
        plan = await make_plan(
            manifest, limits, around.connections, world, DEFAULT_LIFETIME, shard=around.shard
        )
        measures = measure(plan)
        journal.add_drift(_points(measures, plan, run_id, around))
        code, digest = _look_code(plan, measures), plan.digest
        summary = {
            "pools": len(measures),
            "surplus": sum(each.surplus for each in measures),
            "missing": sum(each.missing for each in measures),
            "differing": sum(each.differing for each in measures),
        }
    except BaseException as error:
        interrupted = ExitCode.TERMINATED if around.stop.terminated else ExitCode.INTERRUPTED
        code = getattr(error, "exit_code", interrupted if around.stop.requested else ExitCode.ERROR)
        raise
    finally:
        journal.close_run(run_id, int(code), digest, summary)
    return DriftReport(run_id, plan, measures, unresolved=_unresolved(plan, journal), exit_code=code)


async def correct(manifest: Manifest, limits: Limits, around: Surroundings) -> DriftReport:
    """Look, then apply what the manifest's drift policies allow right now: one attempt per change.

    A run that must be refused as a whole is told in the report; the look has been kept all the same.
    """
    narrowed = narrow(manifest)
    report = await look(narrowed, limits, around)
    permission = _permission(report.plan, manifest.drift, around)
    report = replace(report, refused=permission.refused)
    if not permission.pools and not report.unresolved:
        return replace(report, exit_code=_correct_code(report))
    correction = _Correction(manifest.drift, around)
    request = ApplyRequest(
        manifest=_only(narrowed, permission.pools),
        limits=limits,
        approve=correction.approve,
        options=Options(tries=1),
        command=CORRECTION,
        shard=around.shard,
        group=around.group,
    )
    try:
        applied = await apply(request, around.connections, around.journal, around.world, around.stop)
    except ReconcilerError as error:  # raised before anything was sent
        report = replace(report, error=error)
        with suppress(JournalError):
            correction.give_back("")
    else:
        report = replace(report, applied=applied)
        if applied.plan and any(each.resolved for each in applied.resolutions):
            report = replace(report, measures=measure(applied.plan))  # an earlier run's work was proven since
    try:
        report = _kept(report, correction, around)
    except JournalError as error:  # what was done must reach the reader all the same
        report = replace(report, error=report.error or error)
    return replace(report, exit_code=_correct_code(report))


def _kept(report: DriftReport, correction: _Correction, around: Surroundings) -> DriftReport:
    """Settle the day's budget and keep what is left of the drift."""
    if applied := report.applied:
        correction.give_back(applied.run_id)
        points = _points(report.measures_now, report.plan, applied.run_id, around, only=_done(applied))
        around.journal.add_drift(points)
    return replace(report, unresolved=_unresolved(report.plan, around.journal))


class _Correction:
    """The approval that stands in for a person's: the policy, asked again, and the day's budget, taken at once."""

    def __init__(self, policies: Sequence[DriftPolicy], around: Surroundings) -> None:
        self._policies = {policy.target: policy for policy in policies}
        self._around = around
        self._day = ""
        self._taken: list[tuple[Service, int]] = []

    async def approve(self, plan: Plan) -> None:
        """Raise ``Refused`` unless everything in the plan is allowed now and fits into the day's budget."""
        if plan.run_blocked:
            return  # apply refuses it and says why
        acting = [pool for pool in plan.pools if pool.pending and not pool.blocked]
        permission = _permission(plan, tuple(self._policies.values()), self._around)
        permitted = {pool.desired for pool in permission.pools}
        if any(pool.desired not in permitted for pool in acting):
            reasons = "; ".join(finding.message for finding in permission.refused)
            raise Refused(
                f"what may be corrected changed while it was being read: {reasons}; nothing was sent",
                "the next run decides anew",
            )
        now = self._around.world.clock.now()
        self._day = f"{now:%Y-%m-%d}"
        for service in plan.services:
            self._take(
                service, sum(removals_of(pool) for pool in acting if pool.target == service.target), now
            )

    def _take(self, service: Service, disks: int, now: datetime) -> None:
        if not disks:
            return
        journal, policy = self._around.journal, self._policies[service.target]
        by_hand = _removed_by_hand(service, journal, _midnight(now))
        ceiling = policy.disks_per_day - by_hand
        if journal.reserve_budget(_scope(service), self._day, disks, ceiling):
            self._taken.append((service, disks))
            return
        self.give_back("")
        raise Refused(
            f"{disks} disks more would pass the {policy.disks_per_day} a UTC day that the policy of "
            f"{service.target} allows ({policy.at}): other runs have used the rest; nothing was sent",
            "wait for 00:00 UTC, raise disks_per_day, or apply by hand",
        )

    def give_back(self, run_id: str) -> None:
        """Return to the day's budget what the run reserved but certainly did not remove."""
        record = self._around.journal.run(run_id)
        for service, disks in self._taken:
            removed = sum(
                len(each.intent.disks)
                for each in (record.operations if record else ())
                if each.intent.run_id == run_id and _counts(each) and _of(each, service)
            )
            if spare := disks - removed:
                ceiling = self._policies[service.target].disks_per_day
                self._around.journal.reserve_budget(_scope(service), self._day, -spare, ceiling)
        self._taken.clear()


def _permission(plan: Plan, policies: Sequence[DriftPolicy], around: Surroundings) -> Permission:
    """What may be corrected now, over all targets of the plan."""
    by_target = {policy.target: policy for policy in policies}
    now = around.world.clock.now()
    found: list[Permission] = []
    for service in plan.services:
        past = Past(
            around.journal.removed_since(str(service.target), service.name, _midnight(now)),
            frozenset(
                key
                for each in around.journal.not_done(str(service.target), service.name)
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
    """The manifest with every pool but these left as it is: they stay declared, so that apply sees the same world."""
    chosen = {pool.desired for pool in pools}
    kept = (each if each in chosen else replace(each, manage=frozenset()) for each in manifest.pools)
    return replace(manifest, pools=tuple(kept))


def _points(
    measures: Sequence[Measure],
    plan: Plan,
    run_id: str,
    around: Surroundings,
    only: frozenset[tuple[Target, str]] | None = None,
) -> list[DriftPoint]:
    """What the trend keeps: every pool with drift, and a zero for one whose drift has just ended.

    Ten thousand pools without drift, four times an hour, would otherwise be a million rows a day.
    """
    now = around.world.clock.now()
    services = {service.target: service.name for service in plan.services}
    latest = {point.pool: point for point in around.journal.drift(now - MEMORY)}
    points: list[DriftPoint] = []
    for each in measures:
        if each.pool.live is None or (only is not None and (each.pool.target, each.pool.label) not in only):
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
    """Disks removed since then by runs that no policy approved, and which took none of its budget."""
    removals = [each for each in journal.operations(since) if _of(each, service) and _counts(each)]
    records = {run: journal.run(run) for run in {each.intent.run_id for each in removals}}
    corrected = {run for run, record in records.items() if record and record.run.command == CORRECTION}
    return sum(len(each.intent.disks) for each in removals if each.intent.run_id not in corrected)


def _counts(operation: Operation) -> bool:
    """True for a removal that took, or may yet take, effect."""
    return operation.intent.step is Step.REMOVE and operation.state not in HARMLESS


def _of(operation: Operation, service: Service) -> bool:
    pool = operation.intent.pool
    return (pool.target, pool.service) == (str(service.target), service.name)


def _unresolved(plan: Plan, journal: Journal) -> int:
    return sum(len(journal.unresolved(str(each.target), each.name)) for each in plan.services)


def _done(applied: ApplyReport | None) -> frozenset[tuple[Target, str]]:
    """The pools that the run has proven to be as declared."""
    if applied is None or applied.remaining != 0:
        return frozenset()
    return frozenset((each.target, each.pool) for each in applied.results if each.ending is Ending.DONE)


def _look_code(plan: Plan, measures: Sequence[Measure]) -> ExitCode:
    if plan.failures:
        return ExitCode(plan.failures[0].exit_code)
    if any(each.drifts for each in measures):
        return ExitCode.CHANGES
    return ExitCode.REFUSED if plan.blocked else ExitCode.DONE


def _correct_code(report: DriftReport) -> ExitCode:
    """That of the correction where it says anything, else that of what is left of the drift."""
    if report.error:
        return report.error.exit_code
    if report.applied and report.applied.exit_code is not ExitCode.DONE:
        return report.applied.exit_code
    return _look_code(report.plan, report.measures_now)


def _midnight(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _scope(service: Service) -> str:
    return f"drift {service.target} {service.name}"
