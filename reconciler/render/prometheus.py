"""Owns drift as Prometheus gauges, in the text format of the textfile collector and of a scrape.

Where the text goes is left to ``cli``. No time series has a label that a service could make grow without bound:
there is one per declared pool.
"""

from __future__ import annotations

from reconciler.apply.results import DriftRound
from reconciler.safe_text import safe_text

_POOL_GAUGES = (
    ("reconciler_pool_surplus_disks", "Disks that are live but not declared", "surplus"),
    ("reconciler_pool_missing_disks", "Disks that are declared but not live", "missing"),
    ("reconciler_pool_differing_disks", "Disks smaller or otherwise different than declared", "differing"),
    ("reconciler_pool_surplus_gigabytes", "GB of the surplus disks over all desktops", "surplus_gb"),
)


def drift_metrics(round_: DriftRound) -> str:
    """The gauges of one round: what is left after remediation; after a failed one the pools have no series."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest  # noqa: PLC0415 - costs 60 ms

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
    ended = round_.started.timestamp() + round_.seconds
    unresolved = report.unresolved if report else None
    single: tuple[tuple[str, str, float | None], ...] = (
        ("reconciler_drift_last_run_timestamp_seconds", "When the last look at drift ended", ended),
        ("reconciler_drift_duration_seconds", "How long the last look at drift took", round_.seconds),
        ("reconciler_drift_last_exit_code", "Exit code of the last look: 0 none, 2 drift", round_.exit_code),
        ("reconciler_unresolved_operations", "Operations whose end nobody knows yet", unresolved),
    )
    for name, meaning, value in single:
        if value is not None:
            Gauge(name, meaning, registry=registry).set(value)
    return generate_latest(registry).decode()
