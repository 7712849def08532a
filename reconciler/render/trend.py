"""Owns the page that shows drift over time: surplus GB and disks as steps, per pool, and what was removed.

Pure: what the journal kept is passed in. Layout is left to ``trend.html.j2`` and ``trend.css``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

from reconciler.planning.drift import MEMORY
from reconciler.render.page import Drawn, render_page

SHOWN_POOLS = 100
SHOWN_REMOVALS = 500
COLUMNS = 300
"""Places side by side in a drawing; what happens within one of them is drawn as its highest and its last value."""
_HIGH = 40.0
"""Height of a drawing whose width is 100."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How far one pool was from its manifest at one time."""

    at: datetime
    key: str
    """The same for all readings of one pool."""
    pool: str
    target: str
    surplus: int
    missing: int
    gigabytes: int
    """Of the surplus disks, over all desktops."""


@dataclass(frozen=True, slots=True)
class Happened:
    """One operation: a removal of the past, or one whose end nobody knows yet."""

    at: datetime
    pool: str
    target: str
    what: str
    state: str
    run: str


@dataclass(frozen=True, slots=True)
class Trend:
    """What the page is made from."""

    since: datetime
    until: datetime
    readings: tuple[Reading, ...]
    """Oldest first; those of ``MEMORY`` before ``since`` belong to it."""
    looks: int
    """Runs since then that looked at drift."""
    unresolved: tuple[Happened, ...] = ()
    removals: tuple[Happened, ...] = ()
    """Newest first."""
    worlds: tuple[str, ...] = ()
    """Names of simulated services that any of it comes from."""


class Step(NamedTuple):
    """From this time on the value holds."""

    at: datetime
    value: int


@dataclass(frozen=True, slots=True)
class Curve:
    """Steps over the time of the page, drawn on a scale of 100 by 40."""

    now: int
    peak: int
    line: Drawn
    """Path of the upper edge."""
    area: Drawn
    """Path of what is below it."""


@dataclass(frozen=True, slots=True)
class PoolTrend:
    """One pool over time."""

    pool: str
    target: str
    surplus: int
    missing: int
    gigabytes: Curve


def trend_html(trend: Trend) -> str:
    """The whole page."""
    pools = pool_trends(trend)
    values = {
        "trend": trend,
        "gigabytes": curve(trend, total(trend, "gigabytes")),
        "surplus": curve(trend, total(trend, "surplus")),
        "missing": curve(trend, total(trend, "missing")),
        "pools": pools[:SHOWN_POOLS],
        "more_pools": len(pools[SHOWN_POOLS:]),
        "removals": trend.removals[:SHOWN_REMOVALS],
        "more_removals": len(trend.removals[SHOWN_REMOVALS:]),
    }
    return render_page("trend.html.j2", ("plan.css", "trend.css"), values)


def total(trend: Trend, field: str) -> list[Step]:
    """The sum of one number over all pools, from ``since`` on; a pool counts as last read, for ``MEMORY``."""
    changes: dict[datetime, int] = defaultdict(int)
    for readings in _by_pool(trend.readings).values():
        before = 0
        for at, value in _steps(readings, field, trend.until):
            changes[max(at, trend.since)] += value - before
            before = value
    steps = [Step(trend.since, 0)]
    for at in sorted(changes):
        if changes[at] and at <= trend.until:
            steps.append(Step(at, steps[-1].value + changes[at]))
    return steps


def pool_trends(trend: Trend) -> list[PoolTrend]:
    """Every pool that had drift, those with most surplus GB now first."""
    found = []
    for readings in _by_pool(trend.readings).values():
        last = readings[-1]
        alone = Trend(trend.since, trend.until, tuple(readings), 0)
        surplus, missing = (total(alone, field)[-1].value for field in ("surplus", "missing"))
        drawn = curve(trend, total(alone, "gigabytes"))
        found.append(PoolTrend(last.pool, last.target, surplus, missing, drawn))
    return sorted(
        found, key=lambda each: (-each.gigabytes.now, -each.missing, -each.gigabytes.peak, each.pool)
    )


def curve(trend: Trend, steps: Sequence[Step]) -> Curve:
    """Draw steps; the highest one reaches the top."""
    peak = max(step.value for step in steps)
    span = (trend.until - trend.since).total_seconds()

    def x(at: datetime) -> str:
        return f"{100 * (at - trend.since).total_seconds() / span:.2f}"

    def y(value: int) -> str:
        return f"{_HIGH - _HIGH * value / (peak or 1):.2f}"

    path = [f"M0 {y(steps[0].value)}"]
    path += [f"H{x(step.at)}V{y(step.value)}" for step in _visible(trend, steps[1:])]
    line = "".join((*path, "H100"))
    return Curve(steps[-1].value, peak, Drawn(line), Drawn(f"{line}V{_HIGH:.0f}H0Z"))


def _visible(trend: Trend, steps: Sequence[Step]) -> Iterator[Step]:
    width = (trend.until - trend.since) / COLUMNS
    for _, group in groupby(steps, lambda step: (step.at - trend.since) // width):
        column = list(group)
        highest = max(column, key=lambda step: step.value)
        if highest is not column[-1]:
            yield highest
        yield column[-1]


def _by_pool(readings: Iterable[Reading]) -> dict[str, list[Reading]]:
    found: dict[str, list[Reading]] = defaultdict(list)
    for each in readings:
        found[each.key].append(each)
    return found


def _steps(readings: Sequence[Reading], field: str, until: datetime) -> Iterable[Step]:
    """One pool's values; after a silence of ``MEMORY`` nobody knows any more, and it counts as nothing."""
    for index, each in enumerate(readings):
        yield Step(each.at, getattr(each, field))
        following = readings[index + 1].at if index + 1 < len(readings) else until
        if following - each.at > MEMORY:
            yield Step(each.at + MEMORY, 0)
