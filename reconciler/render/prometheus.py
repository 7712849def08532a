"""Renders drift as Prometheus gauges, in the text format of the textfile collector and of a scrape.

``cli`` writes or serves the text. There is one time series per declared pool, so the service cannot make their
number grow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.apply.results import DriftReport, DriftRound
from reconciler.safe_text import safe_text

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_POOL_GAUGES = (
    ("reconciler_pool_surplus_disks", "Disks that are live but not declared", "surplus"),
    ("reconciler_pool_missing_disks", "Disks that are declared but not live", "missing"),
    (
        "reconciler_pool_differing_disks",
        "Disks smaller than or otherwise different from their declaration",
        "differing",
    ),
    ("reconciler_pool_surplus_gigabytes", "GB of the surplus disks on all desktops", "surplus_gb"),
    ("reconciler_pool_leftover_copies", "Copies that partial removals left on desktops", "leftover_copies"),
)


def drift_metrics(round_: DriftRound) -> str:
    """The gauges of one round: the drift left after remediation; a failed round has no series for pools."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest  # noqa: PLC0415 - takes 60 ms

    report = round_.report
    registry = CollectorRegistry()
    for name, meaning, attribute in _POOL_GAUGES:
        gauge = Gauge(name, meaning, ("region", "project_id", "pool", "pool_id"), registry=registry)
        for each in report.measures_now if report else ():
            pool = each.pool
            labels = (
                pool.target.region,
                pool.target.project_id,
                pool.label,
                pool.live.id if pool.live else "",
            )
            gauge.labels(*map(safe_text, labels)).set(getattr(each, attribute))
    _marks(report, registry)
    seen = Gauge(
        "reconciler_target_last_seen_timestamp_seconds",
        "Time of the last check that read this target; of one never read, of the first that tried",
        ("region", "project_id"),
        registry=registry,
    )
    for sight in round_.sights:
        seen.labels(safe_text(sight.target.region), safe_text(sight.target.project_id)).set(
            sight.since.timestamp()
        )
    ended = round_.started.timestamp() + round_.seconds
    unresolved = report.unresolved if report else None
    single: tuple[tuple[str, str, float | None], ...] = (
        ("reconciler_drift_last_run_timestamp_seconds", "Time at which the last drift check ended", ended),
        ("reconciler_drift_duration_seconds", "Duration of the last drift check", round_.seconds),
        (
            "reconciler_drift_last_exit_code",
            "Exit code of the last drift check: 0 no drift, 2 drift",
            round_.exit_code,
        ),
        ("reconciler_unresolved_operations", "Operations whose outcome is unknown", unresolved),
        ("reconciler_open_alarms", "Alarms that no person has closed", len(round_.alarms)),
    )
    for name, meaning, value in single:
        if value is not None:
            Gauge(name, meaning, registry=registry).set(value)
    return generate_latest(registry).decode()


def _marks(report: DriftReport | None, registry: CollectorRegistry) -> None:
    """How many disks of each pool are marked, and when the first is due; no such series where none is."""
    from prometheus_client import Gauge  # noqa: PLC0415 - as above

    labels = ("region", "project_id", "pool", "pool_id")
    number = "Surplus disks that wait for the end of their grace"
    marked = Gauge("reconciler_pool_marked_disks", number, labels, registry=registry)
    due: dict[tuple[str, ...], float] = {}
    for pool in (each.pool for each in (report.measures_now if report else ())):
        place = (pool.target.region, pool.target.project_id, pool.label, pool.live.id if pool.live else "")
        whose = tuple(map(safe_text, place))
        marked.labels(*whose).set(len(pool.waiting))
        if dues := [each.waits.due for each in pool.waiting if each.waits and each.waits.due]:
            due[whose] = min(dues).timestamp()
    if due:
        when = "Time at which the first of the marked disks of a pool is due"
        first = Gauge("reconciler_pool_first_due_timestamp_seconds", when, labels, registry=registry)
        for whose, moment in due.items():
            first.labels(*whose).set(moment)
