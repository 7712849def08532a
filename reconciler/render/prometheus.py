"""Renders drift as Prometheus metrics, in the text format of the textfile collector and of a scrape.

``cli`` writes or serves the text. There is one time series per declared pool, so the service cannot make their
number grow. Names and units are those that ``promtool check metrics`` asks for: bytes, seconds, ``_total``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from reconciler.apply.results import DriftReport, DriftRound, live_pool
from reconciler.planning.drift import Measure
from reconciler.planning.plan import PoolPlan
from reconciler.render.message import Deliveries
from reconciler.safe_text import safe_text

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

BYTES = 10**9
"""Bytes of a GB, as a dashboard counts that shows bytes in GB."""
_POOL = ("region", "project_id", "pool", "pool_id")
_POOL_GAUGES: tuple[tuple[str, str, Callable[[Measure], float]], ...] = (
    ("reconciler_pool_surplus_disks", "Disks that are live but not declared", lambda each: each.surplus),
    ("reconciler_pool_missing_disks", "Disks that are declared but not live", lambda each: each.missing),
    (
        "reconciler_pool_differing_disks",
        "Disks smaller than or otherwise different from their declaration",
        lambda each: each.differing,
    ),
    (
        "reconciler_pool_surplus_bytes",
        "Size of the surplus disks on all desktops",
        lambda each: each.surplus_gb * BYTES,
    ),
    (
        "reconciler_pool_leftover_copies",
        "Copies that partial removals left on desktops",
        lambda each: each.leftover_copies,
    ),
    (
        "reconciler_pool_marked_disks",
        "Surplus disks that wait for the end of their grace",
        lambda each: len(each.pool.waiting),
    ),
)


def drift_metrics(round_: DriftRound, deliveries: Deliveries) -> str:
    """The metrics of one round: the drift left after remediation; a failed round has no series for pools."""
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - takes 60 ms

    class Collected:
        def collect(self) -> Iterable[Metric]:
            return (each for each in _metrics(round_, deliveries) if each.samples)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collected())
    return generate_latest(registry).decode()


def _metrics(round_: DriftRound, deliveries: Deliveries) -> Iterator[Metric]:
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415 - as above

    report = round_.report
    measures = report.measures_now if report else ()
    for name, meaning, value in _POOL_GAUGES:
        family = GaugeMetricFamily(name, meaning, labels=_POOL)
        for each in measures:
            family.add_metric(_labels(each.pool), value(each))
        yield family
    due, clean = _due(measures), _clean(round_, measures)
    for name, meaning, times in (
        (
            "reconciler_pool_first_due_timestamp_seconds",
            "Time at which the first marked disk of a pool is due",
            due,
        ),
        (
            "reconciler_pool_last_clean_timestamp_seconds",
            "Time of the last check that found no surplus and no missing disk in a pool",
            clean,
        ),
    ):
        family = GaugeMetricFamily(name, meaning, labels=_POOL)
        for pool, moment in times:
            family.add_metric(_labels(pool), moment)
        yield family
    seen = GaugeMetricFamily(
        "reconciler_target_last_seen_timestamp_seconds",
        "Time of the last check that read this target; of one never read, of the first that tried",
        labels=("region", "project_id"),
    )
    for sight in round_.sights:
        where = (safe_text(sight.target.region), safe_text(sight.target.project_id))
        seen.add_metric(where, sight.since.timestamp())
    yield seen
    for name, meaning, number in _single(round_, report):
        yield GaugeMetricFamily(name, meaning, value=number)
    sent = CounterMetricFamily(
        "reconciler_notifications",
        "Messages to webhooks since the start, by what became of them",
        labels=("result",),
    )
    for result in ("delivered", "failed", "dropped"):
        sent.add_metric((result,), getattr(deliveries, result))
    yield sent
    yield GaugeMetricFamily(
        "reconciler_undelivered_webhooks",
        "Webhooks that did not take the last message to them",
        value=len(deliveries.failing),
    )


def _single(round_: DriftRound, report: DriftReport | None) -> Iterator[tuple[str, str, float]]:
    ended = round_.started.timestamp() + round_.seconds
    yield "reconciler_drift_last_run_timestamp_seconds", "Time at which the last drift check ended", ended
    yield "reconciler_drift_duration_seconds", "Duration of the last drift check", round_.seconds
    yield (
        "reconciler_drift_last_exit_code",
        "Exit code of the last drift check: 0 no drift, 2 drift",
        round_.exit_code,
    )
    if report:
        yield (
            "reconciler_open_operations",
            "Operations begun and not known to have ended, those of running runs included",
            report.open_operations,
        )
        yield (
            "reconciler_unresolved_operations",
            "Operations whose outcome is unknown",
            report.unresolved,
        )
    yield "reconciler_open_alarms", "Alarms that no person has closed", len(round_.alarms)


def _due(measures: Iterable[Measure]) -> Iterator[tuple[PoolPlan, float]]:
    """When the first marked disk of a pool is due; nothing for a pool without one."""
    for pool in (each.pool for each in measures):
        if dues := [each.waits.due for each in pool.waiting if each.waits and each.waits.due]:
            yield pool, min(dues).timestamp()


def _clean(round_: DriftRound, measures: Iterable[Measure]) -> Iterator[tuple[PoolPlan, float]]:
    """When each pool was last clean: now, or when its drift was first seen."""
    since = dict(round_.drifting_since)
    for each in measures:
        drifts = each.surplus or each.missing
        began = since.get(key) if drifts and (key := live_pool(each.pool)) else None
        yield each.pool, (began or round_.started).timestamp()


def _labels(pool: PoolPlan) -> tuple[str, ...]:
    live_id = pool.live.id if pool.live else ""
    return tuple(map(safe_text, (pool.target.region, pool.target.project_id, pool.label, live_id)))
