"""Drift: how far each pool is from its manifest, and what a policy allows to be remediated without a person.

The time, and what the journal knows, are passed in. Carrying out is left to ``engine.remediation``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from reconciler.model import Action, DriftPolicy, Manifest, Target, Window
from reconciler.planning.change import DESTROYING, Change
from reconciler.planning.finding import Finding
from reconciler.planning.leftovers import count_of
from reconciler.planning.permissions import window_words
from reconciler.planning.plan import Plan, PoolPlan
from reconciler.values import Struct, replace

MEMORY = timedelta(days=2)
"""How long a measured pool counts as it was measured; the trend keeps no zeros beyond it."""
BEING_CHANGED = "being-changed"
"""The rule of the warning that stands in for a pool that a run is changing."""
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

ChangeKey = tuple[str, str, int]
"""One change in all runs: disk id (the pool's id for a new disk), type, GB that are destroyed or aimed at."""


class Measure(Struct, frozen=True):
    """How far one pool is from its manifest."""

    pool: PoolPlan
    surplus: int
    """Disks that are live but not desired; of tied ones, as many as must go."""
    missing: int
    """Disks that are desired but not live."""
    differing: int
    """Disks that are there but smaller than declared, or with other declared attributes."""
    surplus_gb: int
    """GB of the surplus disks over all desktops, by the pool's own count of desktops."""
    leftover_copies: int = 0
    """Copies that earlier removals, done in part, have left on desktops."""

    @property
    def drifts(self) -> bool:
        """True when anything differs."""
        return bool(self.surplus or self.missing or self.differing or self.leftover_copies)


class Past(Struct, frozen=True):
    """What the journal knows of one target."""

    removed_today: int = 0
    """Disks removed since 00:00 UTC, by whatever run."""
    failed: frozenset[ChangeKey] = frozenset()
    """Changes that were tried and did not end well, or of which nobody knows how they ended."""
    removed_by: str = ""
    """Which runs removed the disks of today, when and how many, in words."""


class Permission(Struct, frozen=True):
    """What may be corrected now, and why the rest may not."""

    pools: tuple[PoolPlan, ...] = ()
    refused: tuple[Finding, ...] = ()


def decided(pool: PoolPlan) -> bool:
    """Whether the pool was found and read without a doubt, so that its drift is known at all."""
    return pool.live is not None and not pool.live.doubts


def is_being_changed(pool: PoolPlan) -> bool:
    """Whether a run was changing the pool while it was read, so that nothing was measured."""
    return any(each.rule == BEING_CHANGED for each in pool.findings)


def measure(plan: Plan) -> tuple[Measure, ...]:
    """One measure per decided pool, in the plan's order."""
    return tuple(_measure(pool) for pool in plan.pools if decided(pool))


def proven(found: Measure) -> Measure:
    """The measure once everything that was to be carried out is proven done."""
    left = tuple(change for change in found.pool.changes if not change.carried_out)
    return _measure(replace(found.pool, changes=left))


def narrow(manifest: Manifest) -> Manifest:
    """The manifest with each pool's ``manage`` cut down to what its target's policy corrects; no policy, nothing."""
    correct = {policy.target: policy.correct for policy in manifest.drift}
    nothing = frozenset[Action]()
    pools = (replace(pool, manage=pool.manage & correct.get(pool.target, nothing)) for pool in manifest.pools)
    return replace(manifest, pools=tuple(pools))


def allowed(pools: Sequence[PoolPlan], policy: DriftPolicy | None, now: datetime, past: Past) -> Permission:
    """What of one target's drift may be corrected now; ``pools`` are planned from a narrowed manifest.

    The guards of the plan hold as well. The day's budget goes to pools in their order; a pool that does
    not fit as a whole is left alone.
    """
    drifting = [
        pool for pool in pools if decided(pool) and (pool.ties or set(pool.drift) - set(pool.waiting))
    ]
    if not drifting:
        return Permission()
    closed = _closed(drifting[0].target, policy, now)
    if policy is None or closed:
        return Permission(refused=(closed,) if closed else ())
    chosen: list[PoolPlan] = []
    refused: list[Finding] = []
    used = past.removed_today
    for pool in drifting:
        removals = 0 if pool.blocked else removals_of(pool)
        if found := _refusal(pool, policy, past, used + removals):
            refused.append(found)
        else:
            chosen.append(pool)
            used += removals
    return Permission(tuple(chosen), tuple(refused))


def opens(window: Window, now: datetime) -> bool:
    """Whether the window is open by the wall clock of its time zone; an unknown zone never is."""
    try:
        local = now.astimezone(ZoneInfo(window.timezone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    today, yesterday = (_DAYS[(local.weekday() - back) % 7] for back in (0, 1))
    clock = f"{local:%H:%M}"
    if window.start < window.end:
        return today in window.days and window.start <= clock < window.end
    if window.start == window.end:
        return False
    return (today in window.days and clock >= window.start) or (
        yesterday in window.days and clock < window.end
    )


def removals_of(pool: PoolPlan) -> int:
    """Disks that carrying out the pool's plan destroys."""
    return sum(change.destroys for change in pool.changes)


def keys_of(pool: PoolPlan) -> Iterator[ChangeKey]:
    """The changes that carrying out the pool's plan makes."""
    for change in pool.pending:
        if change.live and change.action in DESTROYING:
            yield change.live.id, change.live.type, change.live.size
        if change.live and change.desired and change.action is Action.EXPAND:
            yield change.live.id, change.live.type, change.desired.size
        if pool.live and change.desired and change.action in (Action.ADD, Action.REPLACE):
            yield pool.live.id, change.desired.type, change.desired.size


def _measure(pool: PoolPlan) -> Measure:
    goes = [change.live.size for change in pool.changes if change.live and change.action in DESTROYING]
    for tie in pool.ties:
        goes += sorted(disk.size for disk in tie.candidates)[: tie.remove]
    desktops = (pool.live.desktop_count if pool.live else None) or 0
    return Measure(
        pool,
        surplus=len(goes),
        missing=sum(change.action in (Action.ADD, Action.REPLACE) for change in pool.changes),
        differing=sum(_differs(change) for change in pool.changes),
        surplus_gb=sum(goes) * desktops,
        leftover_copies=count_of(pool.leftovers),
    )


def _differs(change: Change) -> bool:
    return change.action is Action.EXPAND or (change.action is Action.KEEP and bool(change.differs))


def _closed(target: Target, policy: DriftPolicy | None, now: datetime) -> Finding | None:
    """Why nothing of the whole target may be corrected now; None when something may."""
    if policy is None or not policy.correct:
        return Finding(
            rule="drift-policy",
            message=f"no drift policy lets anything of {target} be corrected without a person",
            source=str(policy.at) if policy else "",
            allow="a drift: section for this target with correct, disks_per_day and windows",
        )
    if any(opens(window, now) for window in policy.windows):
        return None
    windows = ", ".join(window_words(window) for window in policy.windows)
    return Finding(
        rule="drift-window",
        message=f"no window of {target} is open at {now:%a %Y-%m-%d %H:%M} UTC: "
        + (windows or "the policy has none, so it never is"),
        source=str(policy.windows[0].at if policy.windows else policy.at),
        allow="wait for a window, correct or add one under windows, or apply by hand",
    )


def _refusal(pool: PoolPlan, policy: DriftPolicy, past: Past, used: int) -> Finding | None:
    """Why this pool is left alone although the policy and its windows would let it be corrected."""
    if pool.ties and not pool.pending:
        return None  # the plan's own guard blocks a tie and says more
    if not pool.pending:
        return Finding(
            rule="drift-policy",
            message=f"the policy corrects only {', '.join(sorted(policy.correct))}, and this pool's drift needs "
            "another action, or one that its manage does not have",
            pool=pool.label,
            source=str(policy.at),
            allow="add the action to correct and to manage, or apply by hand",
        )
    if tried := sorted(key for key in keys_of(pool) if key in past.failed):
        disks = ", ".join(f"{disk} ({kind}, {size} GB)" for disk, kind, size in tried)
        return Finding(
            rule="drift-attempted",
            message=f"this was tried before and did not end well, so it is not tried again: {disks}",
            pool=pool.label,
            source="the journal",
            allow="look at reconciler history, then apply by hand",
        )
    if removals_of(pool) and used > policy.disks_per_day:
        return Finding(
            rule="drift-budget",
            message=f"{used} disks would have been removed this UTC day; "
            f"the policy allows {policy.disks_per_day}"
            + (f", and {past.removed_today} are used (by {past.removed_by})" if past.removed_today else ""),
            pool=pool.label,
            measured=used,
            limit=policy.disks_per_day,
            source=str(policy.at),
            allow=f"wait for 00:00 UTC, disks_per_day: {used}, or apply by hand",
        )
    return None
