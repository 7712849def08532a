"""What manifests allow beyond the defaults: the limits, permissions and drift policies that a reviewer approves.

Comparing them with those of another branch is left to ``manifest_changes``, printing them to ``render``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta

from reconciler.model import SHARES, Action, DesiredPool, DriftPolicy, Limits, Target, Window
from reconciler.values import Struct

DEFAULT_LIMITS = Limits()
DEFAULT_MANAGE = frozenset({Action.REMOVE})


class Permission(Struct, frozen=True):
    """One thing that is allowed here and would not be by default."""

    what: str
    """As a manifest writes it, such as ``allow_empty: true``; numbers without separators."""
    source: str
    """``file:line:column`` or the name of a flag."""
    target: Target | None = None
    """None for what holds for the whole run."""
    pool: str = ""
    """The pool as its manifest calls it; empty for a drift policy and for the whole run."""
    note: str = ""
    """What it means in words, where the key alone does not say."""


def permissions(
    limits: Limits, pools: Iterable[DesiredPool], policies: Sequence[DriftPolicy]
) -> tuple[Permission, ...]:
    """Everything that is allowed beyond the defaults: limits first, then policies, then pools in their order."""
    return (
        *_limits(limits),
        *(one for policy in policies for one in policy_permissions(policy)),
        *(one for pool in pools for one in pool_permissions(pool)),
    )


def _limits(limits: Limits) -> Iterator[Permission]:
    defaults = dict(DEFAULT_LIMITS.items())
    for name, limit in limits.items():
        if limit.value != defaults[name].value:
            default = limit_word(name, defaults[name].value)
            yield Permission(
                f"limits.{name}: {limit_word(name, limit.value)}", limit.source, note=f"default: {default}"
            )


def limit_word(name: str, value: int | None) -> str:
    """The value of a limit as a manifest writes it, so that a reviewer can search for it: without separators."""
    if value is None:
        return "no limit"
    return f"{value}%" if name in SHARES else str(value)


def pool_permissions(pool: DesiredPool) -> Iterator[Permission]:
    """What one pool allows beyond the defaults."""

    def allowed(key: str, value: str, note: str = "") -> Permission:
        place = dict(pool.permitted_at).get(key, pool.at)
        return Permission(f"{key}: {value}", str(place), pool.target, pool.label, note)

    if pool.allow_empty:
        ends = "the pool ends without any data disk" if not pool.disks else "not used: disks are declared"
        yield allowed("allow_empty", "true", ends)
    if pool.allow_live_sessions:
        yield allowed("allow_live_sessions", "true", "people who are connected do not block a removal")
    if pool.allow_count_mismatch:
        yield allowed("allow_count_mismatch", "true", "desktops that were not read may lose data as well")
    if pool.on_tie:
        yield allowed("on_tie", pool.on_tie.value, "among equal disks the tool chooses by their age")
    if pool.manage != DEFAULT_MANAGE:
        yield allowed("manage", action_words(pool.manage), "default: [remove]")
    for disk in dict.fromkeys(disk for disk in pool.disks if disk.replace):
        yield Permission(
            "replace: true",
            str(disk.at),
            pool.target,
            pool.label,
            f"a disk with its data may go to make room for {disk.type} {disk.size} GB",
        )


def policy_permissions(policy: DriftPolicy) -> Iterator[Permission]:
    """What one drift policy lets a scheduled run do without a person."""
    if policy.correct:
        windows = ", ".join(map(window_words, policy.windows)) or "no windows, so never"
        yield Permission(
            f"drift.correct: {action_words(policy.correct)}",
            str(policy.at),
            policy.target,
            note=f"without a person, at most {policy.disks_per_day} disks a day; {windows}",
        )


def action_words(actions: Iterable[Action]) -> str:
    """Actions as a manifest lists them, in the order of ``Action``."""
    chosen = frozenset(actions)
    return f"[{', '.join(each.value for each in Action if each in chosen)}]"


def window_words(window: Window) -> str:
    """A window in one phrase."""
    return f"{' '.join(window.days)} {window.start} to {window.end} {window.timezone}"


def grace_words(grace: timedelta) -> str:
    """A grace as a manifest writes it, in the largest unit that is exact: ``7d``, ``36h``."""
    seconds = int(grace.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def age_words(age: timedelta) -> str:
    """``24 h``, ``7 d``, ``90 min``: in the largest unit that is exact, days only above two of them."""
    seconds = int(age.total_seconds())
    for unit, size, least in (("d", 86400, 3 * 86400), ("h", 3600, 3600), ("min", 60, 60)):
        if seconds >= least and seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
