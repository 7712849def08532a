"""Owns the HTML of a plan: one self-contained page that needs no script and loads nothing.

Layout is left to ``plan.html.j2`` and ``plan.css`` beside this file; here are the escaping, the
content security policy and the geometry of the drawings.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

from reconciler.plan import Change, Plan, PoolPlan, Severity, totals
from reconciler.render import words
from reconciler.safe_text import safe_text

if TYPE_CHECKING:
    import jinja2

NAME_LENGTH = 160
SHOWN_USERS = 50
SHOWN_BARS = 20
"""Pools in the drawing of what each loses; the sections below it name every pool."""
_GAP = 0.6
_NARROWEST = 1.5


class Kind(StrEnum):
    """How a disk is drawn; the values are class names of the stylesheet."""

    KEEP = "keep"
    REMOVE = "remove"
    EXPAND = "expand"
    ADD = "add"
    REPLACE = "replace"
    TIE = "tie"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Meter:
    """One count of the blast radius against its limit; drawn on a scale of 0 to 100."""

    label: str
    measured: int
    limit: int | None
    source: str
    fill: float
    mark: float | None
    """Where the limit stands on the scale; None when there is no limit."""

    @property
    def over(self) -> bool:
        """True when the count is above the limit."""
        return self.limit is not None and self.measured > self.limit


@dataclass(frozen=True, slots=True)
class Bar:
    """What one pool loses, relative to the pool that loses most."""

    pool: PoolPlan
    width: float


@dataclass(frozen=True, slots=True)
class Segment:
    """One disk in a lane, on a scale of 0 to 100."""

    x: float
    width: float
    kind: Kind
    label: str


@dataclass(frozen=True, slots=True)
class Lane:
    """The disks of a pool side by side, as they are or as they will be."""

    label: str
    gigabytes: int
    """GB of one desktop's disks."""
    segments: tuple[Segment, ...]


def plan_html(plan: Plan) -> str:
    """The whole plan as one page."""
    page = _environment().get_template("plan.html.j2")
    css = _stylesheet()
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    shown = [pool for pool in plan.pools if pool.drift or pool.ties]
    shown.sort(key=lambda pool: not pool.loss.disks)
    return page.render(
        plan=plan,
        words=words,
        css=css,
        style_hash=f"sha256-{digest}",
        meters=list(meters(plan)),
        bars=list(bars(plan)),
        pools=[(pool, lanes(pool)) for pool in shown],
        blocking=[each for each in plan.all_findings if each.severity is Severity.BLOCK],
        warning=[each for each in plan.all_findings if each.severity is Severity.WARN],
        shown_users=SHOWN_USERS,
    )


def meters(plan: Plan) -> Iterator[Meter]:
    """What an apply would destroy, blocked pools left out, against the limits of the run."""
    lost = totals([pool for pool in plan.pools if not pool.blocked])
    measured = {
        "disks": lost.destroy,
        "copies": lost.copies,
        "pools": lost.pools,
        "gigabytes": lost.gigabytes,
        "users": lost.users,
    }
    for name, limit in plan.limits.items():
        number, most = measured[name], limit.value
        scale = max(number, most or 0, 1)
        yield Meter(
            label="GB" if name == "gigabytes" else name,
            measured=number,
            limit=most,
            source=limit.source,
            fill=0.0 if most is None else _percent(number, scale),
            mark=None if most is None else _percent(most, scale),
        )


def bars(plan: Plan) -> Iterator[Bar]:
    """The pools that lose most, by GB, largest first."""
    losing = sorted(
        (pool for pool in plan.pools if pool.loss.disks), key=lambda pool: (-pool.loss.gigabytes, pool.label)
    )
    largest = max((pool.loss.gigabytes for pool in losing), default=0)
    for pool in losing[:SHOWN_BARS]:
        yield Bar(pool, _percent(pool.loss.gigabytes, largest or 1))


def lanes(pool: PoolPlan) -> tuple[Lane, Lane]:
    """The disks of one desktop before and after: same scale, and each disk at the same place."""
    columns = [(*_outcome(change), _kind(change)) for change in words.settled(pool)]
    columns += [(side, side, Kind.TIE) for side in map(words.side, words.candidates(pool))]
    whole = sum(_size(before, after) for before, after, _ in columns) or 1
    # Gaps and narrowest widths come off the scale first, so that no lane grows wider than 100.
    room = max(0.0, 100 - len(columns) * (_GAP + _NARROWEST))
    x = 0.0
    old: list[Segment] = []
    new: list[Segment] = []
    for before, after, kind in columns:
        for lane, disk in ((old, before), (new, after)):
            size = max(0, disk.size) if disk else _size(before, after)
            label = words.disk_words(disk) if disk else "none"
            width = _NARROWEST + room * size / whole
            lane.append(Segment(round(x, 2), round(width, 2), kind if disk else Kind.NONE, label))
        x += _NARROWEST + room * _size(before, after) / whole + _GAP
    return (
        Lane("now", sum(before.size for before, *_ in columns if before), tuple(old)),
        Lane("after", sum(after.size for _, after, _ in columns if after), tuple(new)),
    )


def _outcome(change: Change) -> tuple[words.Side | None, words.Side | None]:
    before, after = words.sides(change)
    return (before, after) if change.carried_out else (before, before)


def _kind(change: Change) -> Kind:
    return Kind(change.action.value) if change.carried_out else Kind.KEEP


def _size(before: words.Side | None, after: words.Side | None) -> int:
    return max(before.size if before else 0, after.size if after else 0, 0)


def _percent(part: int, whole: int) -> float:
    return round(min(100.0, 100 * part / whole), 2)


@cache
def _stylesheet() -> str:
    source, _, _ = _loader().get_source(_environment(), "plan.css")
    return source.strip()


def _loader() -> jinja2.BaseLoader:
    import jinja2  # noqa: PLC0415 - costly, and only a page needs it

    return jinja2.PackageLoader("reconciler", "render")


@cache
def _environment() -> jinja2.Environment:
    import jinja2  # noqa: PLC0415 - costly, and only a page needs it

    environment = jinja2.Environment(
        loader=_loader(),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_safe,
    )
    environment.filters["name"] = lambda text: words.shortened(safe_text(text), NAME_LENGTH) or "(empty)"
    return environment


def _safe(value: object) -> object:
    """Every text that the page prints, made safe once more; escaping for HTML follows."""
    return safe_text(value) if type(value) is str else value
