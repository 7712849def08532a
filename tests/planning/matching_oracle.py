"""A second opinion on matching: tries every assignment of one pool and remembers all the best ones.

Shares nothing with the matching but the value objects. The cost of an assignment is, in this order:
disks destroyed, GB destroyed, expansions, GB added, differing attributes, protected disks destroyed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from reconciler.model import DesiredDisk, DesiredPool, Disk, OnTie

Costs = tuple[int, int, int, int, int, int]
_RADIX = 10**6
"""Beyond any sum of one cost over a pool: a cost vector becomes one number that compares the same."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What all assignments of one pool say."""

    tried: int
    cost: Costs
    """Of the disks without a pin."""
    optima: frozenset[frozenset[str]]
    """Each set of ids that some best assignment destroys."""

    @property
    def always(self) -> frozenset[str]:
        """Ids that every best assignment destroys."""
        return frozenset.intersection(*self.optima)

    @property
    def sometimes(self) -> frozenset[str]:
        """Ids that some best assignments destroy and others do not."""
        return frozenset.union(*self.optima) - self.always


@dataclass(frozen=True, slots=True)
class Decision:
    """Which disks must go, and among which nothing decides."""

    destroyed: frozenset[str]
    open: frozenset[tuple[int, frozenset[str]]]
    """How many of which ids go."""


def try_all(pool: DesiredPool, live: Sequence[Disk]) -> Truth:
    """Every assignment of the disks and entries without a pin; a pinned disk is its entry's alone."""
    pinned = {entry.id for entry in pool.disks if entry.id}
    entries = [entry for entry in pool.disks if not entry.id]
    disks = [disk for disk in live if disk.id not in pinned]
    best, tried = None, 0
    optima: set[int] = set()
    for weight, gone in _assignments(entries, disks, frozenset(pool.protect)):
        tried += 1
        if best is None or weight < best:
            best, optima = weight, {gone}
        elif weight == best:
            optima.add(gone)
    ids = (frozenset(disk.id for at, disk in enumerate(disks) if gone >> at & 1) for gone in optima)
    return Truth(tried, _vector(best or 0), frozenset(ids))


def decide(
    truth: Truth, pool: DesiredPool, live: Sequence[Disk], ages: Mapping[str, datetime] | None
) -> Decision:
    """What has to happen: like disks go by age where that is allowed and clear, else they stay open."""
    like: dict[tuple[str, int], set[str]] = {}
    for disk in live:
        if disk.id in truth.sometimes:
            like.setdefault((disk.type, disk.size), set()).add(disk.id)
    destroyed, still = set(truth.always), set()
    for group in like.values():
        (count,) = {len(group & optimum) for optimum in truth.optima}
        going = _by_age(group, count, pool.on_tie, ages or {})
        if any(group & optimum == going for optimum in truth.optima):
            destroyed |= going
        else:
            still.add((count, frozenset(group)))
    return Decision(frozenset(destroyed), frozenset(still))


def _by_age(group: set[str], count: int, on_tie: OnTie | None, ages: Mapping[str, datetime]) -> set[str]:
    """The ``count`` oldest or newest; empty when that is not asked for, not known or not clear."""
    if on_tie is None or not group <= ages.keys():
        return set()
    ordered = sorted(group, key=lambda each: ages[each], reverse=on_tie is OnTie.REMOVE_NEWEST)
    return set() if ages[ordered[count - 1]] == ages[ordered[count]] else set(ordered[:count])


def _assignments(
    entries: Sequence[DesiredDisk], disks: Sequence[Disk], protect: frozenset[str]
) -> Iterator[tuple[int, int]]:
    """Weight and destroyed disks (a bit each) of every way to give each disk a fitting entry of its own or none."""
    if not disks:
        yield 0, 0
        return
    options = [
        [(1 << number, _weight(entry, disk)) for number, entry in enumerate(entries) if _fits(entry, disk)]
        for disk in disks
    ]
    alone = [_number((1, disk.size, 0, 0, 0, int(disk.id in protect))) for disk in disks]
    last = len(disks) - 1
    waiting: list[tuple[int, int, int, int]] = [(0, 0, 0, 0)]
    while waiting:
        index, used, weight, gone = waiting.pop()
        if index == last:
            yield weight + alone[index], gone | 1 << index
            for entry, more in options[index]:
                if not used & entry:
                    yield weight + more, gone
        else:
            waiting.append((index + 1, used, weight + alone[index], gone | 1 << index))
            for entry, more in options[index]:
                if not used & entry:
                    waiting.append((index + 1, used | entry, weight + more, gone))


def _fits(entry: DesiredDisk, disk: Disk) -> bool:
    return entry.type == disk.type and entry.size >= disk.size


def _weight(entry: DesiredDisk, disk: Disk) -> int:
    wishes = ((entry.iops, disk.iops), (entry.throughput, disk.throughput), (entry.kms_id, disk.kms_id))
    unlike = sum(wish is not None and wish != has for wish, has in wishes)
    return _number((0, 0, int(entry.size != disk.size), entry.size - disk.size, unlike, 0))


def _number(cost: Costs) -> int:
    number = 0
    for part in cost:
        number = number * _RADIX + part
    return number


def _vector(number: int) -> Costs:
    parts = []
    for _ in range(6):
        number, part = divmod(number, _RADIX)
        parts.append(part)
    one, two, three, four, five, six = reversed(parts)
    return one, two, three, four, five, six
