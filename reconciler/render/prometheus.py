"""Renders drift as Prometheus gauges, in the text format of the textfile collector and of a scrape.

``cli`` writes or serves the text. There is one time series per declared pool, so the service cannot make their
number grow.
"""

from __future__ import annotations

from reconciler.apply.results import DriftRound
from reconciler.safe_text import safe_text

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
    marked = Gauge(
        "reconciler_pool_marked_disks",
        "Surplus disks that wait for the end of their grace",
        ("region", "project_id", "pool", "pool_id"),
        registry=registry,
    )
    due = Gauge(
        "reconciler_pool_first_due_timestamp_seconds",
        "Time at which the first of the marked disks of a pool is due",
        ("region", "project_id", "pool", "pool_id"),
        registry=registry,
    )
    for each in report.measures_now if report else ():
        at = each.pool.target.region, each.pool.target.project_id, each.pool.label
        whose = [*map(safe_text, at), safe_text(each.pool.live.id if each.pool.live else "")]
        marked.labels(*whose).set(len(each.pool.waiting))
        if dues := [one.waits.due for one in each.pool.waiting if one.waits and one.waits.due]:
            due.labels(*whose).set(min(dues).timestamp())
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
