"""Owns drift as Prometheus gauges, in the text format of the textfile collector and of a scrape.

Where the text goes is left to ``cli``. No time series has a label that a service could make grow without bound:
there is one per declared pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.drift import Measure
from reconciler.safe_text import safe_text

_POOL_GAUGES = (
    ("reconciler_pool_surplus_disks", "Disks that are live but not declared", "surplus"),
    ("reconciler_pool_missing_disks", "Disks that are declared but not live", "missing"),
    ("reconciler_pool_differing_disks", "Disks smaller or otherwise different than declared", "differing"),
    ("reconciler_pool_surplus_gigabytes", "GB of the surplus disks over all desktops", "surplus_gb"),
)


@dataclass(frozen=True, slots=True)
class Round:
    """One look at drift, as the gauges tell it."""

    measures: Sequence[Measure]
    """Empty when the look failed: the pools' series then end rather than stand still."""
    ended: float
    """Unix time, seconds."""
    duration: float
    """Seconds."""
    exit_code: int
    unresolved: int | None
    """Open operations in the journal; None when it was not asked."""


def drift_metrics(told: Round) -> str:
    """The gauges of one round."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest  # noqa: PLC0415 - costs 60 ms

    registry = CollectorRegistry()
    for name, meaning, attribute in _POOL_GAUGES:
        gauge = Gauge(name, meaning, ("region", "project_id", "pool", "pool_id"), registry=registry)
        for each in told.measures:
            pool = each.pool
            labels = (
                pool.target.region,
                pool.target.project_id,
                pool.label,
                pool.live.id if pool.live else "",
            )
            gauge.labels(*map(safe_text, labels)).set(getattr(each, attribute))
    single: tuple[tuple[str, str, float | None], ...] = (
        ("reconciler_drift_last_run_timestamp_seconds", "When the last look at drift ended", told.ended),
        ("reconciler_drift_duration_seconds", "How long the last look at drift took", told.duration),
        ("reconciler_drift_last_exit_code", "Exit code of the last look: 0 none, 2 drift", told.exit_code),
        ("reconciler_unresolved_operations", "Operations whose end nobody knows yet", told.unresolved),
    )
    for name, meaning, value in single:
        if value is not None:
            Gauge(name, meaning, registry=registry).set(value)
    return generate_latest(registry).decode()
