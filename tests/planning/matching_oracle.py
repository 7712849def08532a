"""A second opinion on matching: tries every assignment of one pool and remembers all the best ones.

Shares nothing with the matching but the value objects. The cost of an assignment is, in this order:
disks destroyed, GB destroyed, expansions, GB added, differing attributes, protected disks destroyed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from reconciler.model import DesiredDisk, DesiredPool, Disk, OnTie

Costs = tuple[int, int, int, int, int, int]
_MOST = 16
"""Disks, and entries, that a way has bits for."""
_DISKS, _WEIGHT = (1 << _MOST) - 1, 2 * _MOST
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
    every = _assignments(entries, disks, frozenset(pool.protect))
    best = min(every) >> _WEIGHT
    worse = best + 1 << _WEIGHT
    optima = {way & _DISKS for way in every if way < worse}
    ids = (frozenset(disk.id for at, disk in enumerate(disks) if gone >> at & 1) for gone in optima)
    return Truth(len(every), _vector(best), frozenset(ids))


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


def _assignments(entries: Sequence[DesiredDisk], disks: Sequence[Disk], protect: frozenset[str]) -> list[int]:
    """Every way to give each disk a fitting entry of its own or none.

    A way is one number: its weight, then a bit for each entry that is taken, then one for each disk that goes. All
    ways for the disks so far are continued by the next disk, all at once.
    """
    assert max(len(entries), len(disks)) <= _MOST
    ways = [0]
    for at, disk in enumerate(disks):
        alone = (_number((1, disk.size, 0, 0, 0, int(disk.id in protect))) << _WEIGHT) + (1 << at)
        longer = [way + alone for way in ways]
        for number, entry in enumerate(entries):
            if _fits(entry, disk):
                taken = 1 << _MOST + number
                more = (_weight(entry, disk) << _WEIGHT) + taken
                longer += [way + more for way in ways if not way & taken]
        ways = longer
    return ways


def _fits(entry: DesiredDisk, disk: Disk) -> bool:
    return entry.type == disk.type and entry.size >= disk.size


def _weight(entry: DesiredDisk, disk: Disk) -> int:
    unlike = int(entry.iops is not None and entry.iops != disk.iops)
    unlike += entry.throughput is not None and entry.throughput != disk.throughput
    unlike += entry.kms_id is not None and entry.kms_id != disk.kms_id
    return _number((0, 0, int(entry.size != disk.size), entry.size - disk.size, unlike, 0))


def _number(cost: Costs) -> int:
    one, two, three, four, five, six = cost
    return ((((one * _RADIX + two) * _RADIX + three) * _RADIX + four) * _RADIX + five) * _RADIX + six


def _vector(number: int) -> Costs:
    parts = []
    for _ in range(6):
        number, part = divmod(number, _RADIX)
        parts.append(part)
    one, two, three, four, five, six = reversed(parts)
    return one, two, three, four, five, six
