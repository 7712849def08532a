"""What a pull request changes in the manifests themselves: limits, permissions, protection, policies and pools.

It compares two sets of manifests and needs no live pool, so it also speaks when no disk changes. What a plan does to
disks is left to ``draft``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

from reconciler.model import (
    ApplyTo,
    DesiredDisk,
    DesiredPool,
    DriftPolicy,
    Limit,
    Limits,
    Manifest,
    Target,
    Window,
)
from reconciler.planning.permissions import (
    Permission,
    action_words,
    age_words,
    grace_words,
    limit_word,
    pool_permissions,
    window_words,
)
from reconciler.values import Struct


class Direction(StrEnum):
    """Whether a change lets more be destroyed than before."""

    WIDENS = "widens"
    NARROWS = "narrows"
    NEUTRAL = "neutral"


class ManifestChange(Struct, frozen=True):
    """One difference between the manifests of the target branch and those of the pull request."""

    what: str
    """One phrase with the value before and after, such as ``limits.disks raised from 10 to 9999``."""
    direction: Direction
    source: str
    """``file:line:column`` after the change, or before it for what is gone."""
    target: Target | None = None
    pool: str = ""


Place = tuple[str, str]
"""Region and project: a change of the profile alone is a change of the same target."""

_REACH = {ApplyTo.NEW: 0, ApplyTo.IDLE: 1, ApplyTo.ALL: 2, None: 2}
"""How many desktops a change reaches; left out, the service decides, which may be every desktop."""


def manifest_changes(before: Manifest, after: Manifest) -> tuple[ManifestChange, ...]:
    """Every difference, those that widen first; otherwise in the order limits, policies, pools."""
    found = [
        *_limits(before.limits, after.limits),
        *_policies(before.drift, after.drift),
        *_pools(before.pools, after.pools),
    ]
    order = list(Direction)
    return tuple(sorted(found, key=lambda each: order.index(each.direction)))


def _limits(before: Limits, after: Limits) -> Iterator[ManifestChange]:
    earlier = dict(before.items())
    for name, limit in after.items():
        old = earlier[name]
        if old.value == limit.value:
            continue
        raised = _wider(old.value, limit.value)
        words = f"{limit_word(name, old.value)} to {limit_word(name, limit.value)}"
        yield ManifestChange(
            f"limits.{name} {'raised' if raised else 'lowered'} from {words}",
            _direction(wider=raised),
            _limit_source(limit, old),
        )


def _limit_source(after: Limit, before: Limit) -> str:
    # A limit that was dropped has no place any more: say where it stood.
    return f"{before.source} (removed)" if after.source == "default" else after.source


def _wider(before: int | None, after: int | None) -> bool:
    return after is None or (before is not None and after > before)


def _direction(*, wider: bool) -> Direction:
    return Direction.WIDENS if wider else Direction.NARROWS


def _place(target: Target) -> Place:
    return target.region, target.project_id


def _policies(before: Sequence[DriftPolicy], after: Sequence[DriftPolicy]) -> Iterator[ManifestChange]:
    earlier = {_place(each.target): each for each in before}
    later = {_place(each.target): each for each in after}
    for place in sorted(earlier.keys() | later.keys()):
        old, new = earlier.get(place), later.get(place)
        one = new or old
        if one is None:
            continue
        for what, direction in _policy(old, new):
            yield ManifestChange(what, direction, str(one.at), one.target)


def _policy(old: DriftPolicy | None, new: DriftPolicy | None) -> Iterator[tuple[str, Direction]]:
    if old is None and new is not None:
        windows = ", ".join(map(window_words, new.windows)) or "no windows"
        yield (
            f"drift policy added: correct {action_words(new.correct)} without a person, "
            f"at most {new.disks_per_day} disks a day, {windows}",
            Direction.WIDENS,
        )
    elif new is None:
        yield "drift policy removed: nothing is corrected without a person", Direction.NARROWS
    elif old is not None:
        if old.correct != new.correct:
            more = bool(new.correct - old.correct)
            what = f"drift.correct changed from {action_words(old.correct)} to {action_words(new.correct)}"
            yield what, _direction(wider=more)
        if old.disks_per_day != new.disks_per_day:
            raised = new.disks_per_day > old.disks_per_day
            word = "raised" if raised else "lowered"
            what = f"drift.disks_per_day {word} from {old.disks_per_day} to {new.disks_per_day}"
            yield what, _direction(wider=raised)
        for window in _gone(new.windows, old.windows):
            yield f"drift window added: {window}", Direction.WIDENS
        for window in _gone(old.windows, new.windows):
            yield f"drift window removed: {window}", Direction.NARROWS


def _gone(windows: Sequence[Window], others: Sequence[Window]) -> list[str]:
    kept = {window_words(each) for each in others}
    return [words for each in windows if (words := window_words(each)) not in kept]


def _pools(before: Sequence[DesiredPool], after: Sequence[DesiredPool]) -> Iterator[ManifestChange]:
    pairs, dropped, added = _paired(before, after)
    for old, new in pairs:
        for what, direction, source in _pool(old, new):
            yield ManifestChange(what, direction, source, new.target, new.label)
    for pool in dropped:
        yield ManifestChange(
            "pool no longer managed", Direction.NARROWS, f"{pool.at} (removed)", pool.target, pool.label
        )
    for pool in added:
        # Disks of a pool that was not managed before may become surplus by being declared.
        yield ManifestChange(
            f"pool added, with {disks_words(pool.disks)}",
            Direction.WIDENS,
            str(pool.at),
            pool.target,
            pool.label,
        )
        for each in pool_permissions(pool):
            yield _granted(each)


def _paired(
    before: Sequence[DesiredPool], after: Sequence[DesiredPool]
) -> tuple[list[tuple[DesiredPool, DesiredPool]], list[DesiredPool], list[DesiredPool]]:
    """Entries of the same pool, by id and then by name; and those that only one side has."""
    by_id = {(_place(each.target), each.id): each for each in before if each.id}
    by_name = {(_place(each.target), each.name): each for each in before if each.name}
    pairs: list[tuple[DesiredPool, DesiredPool]] = []
    added: list[DesiredPool] = []
    left = {id(each): each for each in before}
    for new in after:
        place = _place(new.target)
        old = by_id.get((place, new.id)) or by_name.get((place, new.name))
        if old is not None and id(old) in left and not (old.id and new.id and old.id != new.id):
            del left[id(old)]
            pairs.append((old, new))
        else:
            added.append(new)
    return pairs, list(left.values()), added


def _pool(old: DesiredPool, new: DesiredPool) -> Iterator[tuple[str, Direction, str]]:
    at = str(new.at)
    if old.label != new.label or old.name != new.name:
        yield f"pool renamed from {old.label} to {new.label}", Direction.NEUTRAL, at
    if old.target.profile != new.target.profile:
        names = [each.target.profile or "the default" for each in (old, new)]
        yield f"credentials profile changed from {names[0]} to {names[1]}", Direction.WIDENS, at
    yield from _permissions(old, new)
    if old.apply_to != new.apply_to:
        words = [
            each.apply_to.value if each.apply_to else "left out (the service decides)" for each in (old, new)
        ]
        wider = _REACH[new.apply_to] > _REACH[old.apply_to]
        yield f"apply_to changed from {words[0]} to {words[1]}", _direction(wider=wider), at
    if old.grace != new.grace:
        words = [grace_words(each.grace) if each.grace else "none" for each in (old, new)]
        yield f"grace changed from {words[0]} to {words[1]}", _direction(wider=new.grace < old.grace), at
    if old.announce != new.announce:
        how = "changed" if old.announce and new.announce else "added" if new.announce else "removed"
        yield f"message to the people of the pool {how}", _told(old, new), at
    if old.backup != new.backup:
        ages = [age_words(each.backup.within) if each.backup else "none" for each in (old, new)]
        wider = old.backup is not None and (new.backup is None or new.backup.within > old.backup.within)
        yield f"backup changed from {ages[0]} to {ages[1]}", _direction(wider=wider), at
    for what, earlier, later in (
        ("protection", set(old.protect), set(new.protect)),
        ("pin", _pins(old), _pins(new)),
    ):
        for disk in sorted(earlier - later):
            yield f"{what} of disk {disk} removed", Direction.WIDENS, at
        for disk in sorted(later - earlier):
            yield f"{what} of disk {disk} added", Direction.NARROWS, at
    was, now = (disks_words(each.disks) for each in (old, new))
    if was != now:
        yield f"disks changed from {was} to {now}", Direction.NEUTRAL, at


def _told(old: DesiredPool, new: DesiredPool) -> Direction:
    """Whether fewer people hear of what is to go."""
    if bool(old.announce) == bool(new.announce):
        return Direction.NEUTRAL
    return _direction(wider=not new.announce)


def _pins(pool: DesiredPool) -> set[str]:
    return {disk.id for disk in pool.disks if disk.id}


def _permissions(old: DesiredPool, new: DesiredPool) -> Iterator[tuple[str, Direction, str]]:
    earlier, later = _by_key(old), _by_key(new)
    for what in sorted(later.keys() - earlier.keys()):
        if what.startswith("manage:"):
            continue
        yield f"permission granted: {what}", Direction.WIDENS, later[what].source
    for what in sorted(earlier.keys() - later.keys()):
        if what.startswith("manage:"):
            continue
        yield f"permission taken: {what}", Direction.NARROWS, f"{earlier[what].source} (removed)"
    if old.manage != new.manage:
        words = f"manage changed from {action_words(old.manage)} to {action_words(new.manage)}"
        source = str(dict(new.permitted_at).get("manage", new.at))
        yield words, _direction(wider=bool(new.manage - old.manage)), source


def _by_key(pool: DesiredPool) -> Mapping[str, Permission]:
    # Two entries may both allow a replacement: the disk that it makes tells them apart.
    return {
        f"{each.what} ({each.note})" if each.what.startswith("replace") else each.what: each
        for each in pool_permissions(pool)
    }


def _granted(permission: Permission) -> ManifestChange:
    return ManifestChange(
        f"permission granted: {permission.what}",
        Direction.WIDENS,
        permission.source,
        permission.target,
        permission.pool,
    )


def disks_words(disks: Sequence[DesiredDisk]) -> str:
    """The declared disks of a pool in one phrase, such as ``SAS 50 GB × 2, SSD 100 GB``."""
    bare = Counter((each.type, each.size) for each in disks)
    words = [
        f"{kind} {size} GB{f' × {number}' if number > 1 else ''}"
        for (kind, size), number in sorted(bare.items())
    ]
    return ", ".join(words) or "no data disk"
