"""Matches declared disks with live ones: of all ways to do so, the one that destroys least.

Disks of different types never serve each other, so each type is a small assignment problem, solved
exactly and in polynomial time by ``assignment``. What a change destroys is left to ``draft``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from reconciler.model import MAX_DISK_GB, Action, DesiredDisk, DesiredPool, Disk, OnTie, Position
from reconciler.planning.assignment import Cost, Forced, solve
from reconciler.planning.change import Change, Rule, Tie, is_carried_out
from reconciler.planning.finding import Finding, Severity
from reconciler.values import Struct, field, replace

ATTRIBUTES = ("iops", "throughput", "kms_id")
UNUSED_PERMISSION = "replace-without-counterpart"
DISTRUSTED = frozenset({"disk-without-id", "disk-id-repeated", "disk-size-absurd"})
"""Rules about live disks that are set aside."""


class Match(Struct, frozen=True):
    """The best matching of one pool."""

    changes: tuple[Change, ...]
    """By live id; disks to add last, in the order of the manifest's places."""
    ties: tuple[Tie, ...] = ()
    findings: tuple[Finding, ...] = ()
    """Why the pool cannot be changed as declared."""


def match(desired: DesiredPool, live: Sequence[Disk], ages: Mapping[str, datetime] | None = None) -> Match:
    """Match one pool; independent of the order of both sides.

    Minimises, in this order: disks destroyed, GB destroyed, expansions, GB added by expanding, differing
    attributes, protected disks destroyed. Protection comes last: it chooses between choices that are
    otherwise equal, and never makes another disk go instead; where a protected disk would have to go, the
    guard blocks the pool. ``ages`` (creation time by disk id) lets ``on_tie`` choose.

    Two laws follow from that order, for disks without a pin. No disk goes that equals an entry (type and
    size) into which another one grows: in its place it would destroy fewer GB. And whatever goes would go
    as well if no disk could grow: of each size as many stay as entries of that size could use unchanged.
    That a removal rests on a growth or a replacement that is only shown is for ``guard`` to block.
    """
    if (quick := _all_equal(desired, live)) is not None:
        return quick
    work = _Work(desired)
    entries, disks = work.pins(sorted(live, key=_disk_order))
    for kind in sorted({disk.type for disk in disks} | {entry.type for entry in entries}):
        work.one_type(
            [entry for entry in entries if entry.type == kind],
            [disk for disk in disks if disk.type == kind],
            ages or {},
        )
    work.leftovers()
    return work.done()


def _all_equal(desired: DesiredPool, live: Sequence[Disk]) -> Match | None:
    """The common case, decided without solving anything: the same disks on both sides."""
    wanted = desired.disks
    if len(wanted) != len(live):
        return None
    left = sorted(wanted, key=lambda each: (each.type, each.size, each.replace, each.at))
    right = sorted(live, key=lambda each: (each.type, each.size, each.id))
    ids = {disk.id for disk in right}
    if len(ids) != len(right) or "" in ids:
        return None
    for one, two in zip(left, right, strict=True):
        if (
            not 0 < two.size <= MAX_DISK_GB
            or one.type != two.type
            or one.size != two.size
            or one.id
            or _declares(one)
        ):
            return None
    keep = is_carried_out(Action.KEEP, desired.manage)
    pairs = sorted(zip(left, right, strict=True), key=lambda pair: pair[1].id)
    return Match(tuple(Change(Action.KEEP, Rule.EQUAL, one, two, carried_out=keep) for one, two in pairs))


class _Work(Struct):
    """One matching in the making."""

    pool: DesiredPool
    changes: list[Change] = field(default_factory=list)
    ties: list[Tie] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    surplus: list[Disk] = field(default_factory=list)
    missing: list[DesiredDisk] = field(default_factory=list)

    def pins(self, live: Sequence[Disk]) -> tuple[list[DesiredDisk], list[Disk]]:
        """Match what is pinned, set aside what cannot be trusted; returns what is left of both sides."""
        trusted = self._trusted(live)
        by_id = {disk.id: disk for disk in trusted}
        free: list[DesiredDisk] = []
        for entry in sorted(self.pool.disks, key=_entry_order):
            if not entry.id:
                free.append(entry)
            elif (disk := by_id.pop(entry.id, None)) is None:
                self._find(
                    "pin-not-live",
                    f"the pinned disk {entry.id} is not a live disk of this pool",
                    entry.at,
                    "correct the id, or drop it to let any fitting disk serve",
                )
            else:
                self._pinned(entry, disk)
        return free, [disk for disk in trusted if disk.id in by_id]

    def one_type(
        self, entries: Sequence[DesiredDisk], disks: Sequence[Disk], ages: Mapping[str, datetime]
    ) -> None:
        """Match the disks of one type and note what is left over on both sides."""
        if not (entries and disks):  # nothing to solve
            self.surplus.extend(disks)
            self.missing.extend(entries)
            return
        solver = _Solver(entries, disks, frozenset(self.pool.protect))
        best, undecided = self._decide(solver, disks, ages)
        for group in undecided:
            members = sorted(group.candidates)
            rivals = tuple(entries[column] for index in members if (column := best.of[index]) is not None)
            self.ties.append(Tie(group.remove, tuple(disks[index] for index in members), rivals))
        open_ended = frozenset[int]().union(*(group.candidates for group in undecided))
        taken = {column for column in best.of if column is not None}
        for index, column in enumerate(best.of):
            if column is not None:
                self._pair(entries[column], disks[index])
            elif index not in open_ended:
                self.surplus.append(disks[index])
        self.missing.extend(entry for column, entry in enumerate(entries) if column not in taken)

    def leftovers(self) -> None:
        """Pair what is left on both sides as replacements, then remove the surplus and add the missing."""
        surplus = sorted(self.surplus, key=_disk_order)
        # Whichever disks of a tie go, a missing entry will be paired with each: said now, not after the pin.
        undecided = [tie for tie in self.ties for _ in range(tie.remove)]
        for entry in sorted(self.missing, key=lambda each: (not each.replace, *_entry_order(each))):
            if surplus:
                disk = min(surplus, key=lambda each: (each.type != entry.type, *_disk_order(each)))
                surplus.remove(disk)
                self._change(Action.REPLACE, Rule.SWAPPED, entry, disk)
                self._check_permission(entry, [disk])
            elif undecided:
                tie = min(undecided, key=lambda each: each.candidates[0].type != entry.type)
                undecided.remove(tie)
                self._change(Action.ADD, Rule.MISSING, entry)
                self._check_permission(entry, tie.candidates)
            else:
                self._add(entry)
        for disk in surplus:
            self._change(Action.REMOVE, Rule.SURPLUS, live=disk)

    def done(self) -> Match:
        """The matching, in canonical order."""
        changes = tuple(sorted(self.changes, key=_change_order))
        loses = any(each.destroys for each in changes) or (self.ties and Action.REMOVE in self.pool.manage)
        return Match(changes, tuple(self.ties), tuple(_weighed(self.findings, loses=bool(loses))))

    def _change(
        self, action: Action, rule: Rule, desired: DesiredDisk | None = None, live: Disk | None = None
    ) -> None:
        differs = _differing(desired, live) if desired and live and action is not Action.REPLACE else ()
        done = is_carried_out(action, self.pool.manage)
        self.changes.append(Change(action, rule, desired, live, differs, done))

    def _pair(self, entry: DesiredDisk, disk: Disk) -> None:
        if disk.size < entry.size:
            self._change(Action.EXPAND, Rule.GROWN, entry, disk)
        else:
            self._change(Action.KEEP, Rule.EQUAL, entry, disk)

    def _find(self, rule: str, message: str, at: Position, allow: str) -> None:
        self.findings.append(Finding(rule, message, pool=self.pool.label, source=str(at), allow=allow))

    def _trusted(self, live: Sequence[Disk]) -> list[Disk]:
        seen = Counter(disk.id for disk in live)
        trusted: list[Disk] = []
        for disk in live:
            if not disk.id:
                self._distrust("disk-without-id", f"a live disk ({disk.type} {disk.size} GB) has no id")
            elif seen[disk.id] > 1:
                self._distrust("disk-id-repeated", f"the id {disk.id} stands for more than one live disk")
            elif not 0 < disk.size <= MAX_DISK_GB:
                self._distrust("disk-size-absurd", f"disk {disk.id} has the size {disk.size} GB")
            else:
                trusted.append(disk)
                continue
            self._change(Action.KEEP, Rule.SET_ASIDE, live=disk)
        return trusted

    def _distrust(self, rule: str, message: str) -> None:
        if (rule, message) not in {
            (each.rule, each.message) for each in self.findings
        }:  # disks may share an id
            self._find(rule, message, self.pool.at, "plan again; if it stays, ask the service's support")

    def _pinned(self, entry: DesiredDisk, disk: Disk) -> None:
        action = Action.EXPAND if entry.type == disk.type and disk.size < entry.size else Action.KEEP
        self._change(action, Rule.PINNED, entry, disk)
        if entry.type != disk.type or disk.size > entry.size:
            self._find(
                "pin-mismatch",
                f"the pinned disk {disk.id} is {disk.type} {disk.size} GB, "
                f"declared {entry.type} {entry.size} GB",
                entry.at,
                f"declare it as {{id: {disk.id}, type: {disk.type}, size: {disk.size}}}, "
                "or drop the id to let it be replaced",
            )

    def _decide(
        self, solver: _Solver, disks: Sequence[Disk], ages: Mapping[str, datetime]
    ) -> tuple[_Best, list[_Group]]:
        """The best assignment after every tie that ages may decide, and the ties that stay open."""
        best, forced, undecided = solver.best(), Forced(), []
        for group in tuple(solver.ties(best)):
            if chosen := self._choose(group, disks, ages):
                together = forced.and_also(chosen)
                again = solver.best(together)
                if again.cost == best.cost:
                    best, forced = again, together
                    continue
            undecided.append(group)
        return best, undecided

    def _choose(self, group: _Group, disks: Sequence[Disk], ages: Mapping[str, datetime]) -> Forced | None:
        """Which candidates go by age; None when nothing allows it or the ages do not decide."""
        candidates = sorted(group.candidates)
        if self.pool.on_tie is None or any(disks[index].id not in ages for index in candidates):
            return None
        newest_first = self.pool.on_tie is OnTie.REMOVE_NEWEST
        ordered = sorted(candidates, key=lambda index: ages[disks[index].id], reverse=newest_first)
        last_gone, first_kept = ordered[group.remove - 1], ordered[group.remove]
        if ages[disks[last_gone].id] == ages[disks[first_kept].id]:
            return None
        return Forced(frozenset(ordered[group.remove :]), frozenset(ordered[: group.remove]))

    def _add(self, entry: DesiredDisk) -> None:
        self._change(Action.ADD, Rule.MISSING, entry)
        if entry.replace:
            self._find(
                UNUSED_PERMISSION,
                f"replace: true beside {entry.type} {entry.size} GB, but no disk is left to replace",
                entry.at,
                "take replace: true out of the entry",
            )

    def _check_permission(self, entry: DesiredDisk, going: Sequence[Disk]) -> None:
        """Making ``entry`` of a disk destroys it; ``going`` are the like disks of which one will be it."""
        if entry.replace:
            return
        which = " or ".join(disk.id for disk in going)
        kind, size = going[0].type, going[0].size
        self._find(
            "replace-not-allowed",
            f"disk {which} ({kind} {size} GB) would be destroyed to make "
            f"{entry.type} {entry.size} GB of it, and its data lost",
            entry.at,
            f"{{type: {entry.type}, size: {entry.size}, replace: true}} if the data may go, "
            f"or declare {{type: {kind}, size: {size}}} to keep the disk",
        )


class _Group(Struct, frozen=True):
    """Indexes of like disks of which ``remove`` must go, whichever."""

    candidates: frozenset[int]
    remove: int


class _Best(Struct, frozen=True):
    """An optimal assignment: the entry of each disk, or None for one that goes."""

    of: tuple[int | None, ...]
    cost: Cost


class _Solver:
    """The assignment problem of one type."""

    def __init__(
        self, entries: Sequence[DesiredDisk], disks: Sequence[Disk], protect: frozenset[str]
    ) -> None:
        self._sizes = [disk.size for disk in disks]
        self._pairs = [[_pair_cost(entry, disk) for entry in entries] for disk in disks]
        self._gone: list[Cost] = [(1, disk.size, 0, 0, 0, int(disk.id in protect)) for disk in disks]

    def best(self, forced: Forced | None = None) -> _Best:
        """The cheapest assignment under what is forced."""
        found, cost = solve(self._pairs, self._gone, forced or Forced())
        return _Best(found, cost)

    def ties(self, best: _Best) -> Iterator[_Group]:
        """Groups in which another assignment of the same cost destroys other disks.

        All cheapest assignments destroy the same multiset of sizes: the kept disks are a best basis of a
        transversal matroid, weighed by GB. So only disks of one size can take each other's place. Attributes
        and protection may differ inside such a group, since assignments that differ there can cost the same
        in sum; disks that differ in neither are alike, and any of them may go.
        """
        groups: dict[int, list[int]] = defaultdict(list)
        for index, size in enumerate(self._sizes):
            groups[size].append(index)
        for _, members in sorted(groups.items()):
            gone = [index for index in members if best.of[index] is None]
            kept = [index for index in members if best.of[index] is not None]
            if not gone or not kept:
                continue
            first = members[0]
            if all(
                (self._pairs[i], self._gone[i]) == (self._pairs[first], self._gone[first]) for i in members
            ):
                yield _Group(frozenset(members), len(gone))
                continue
            could_stay = [index for index in gone if self._same(best, Forced(keep=frozenset({index})))]
            could_go = [index for index in kept if self._same(best, Forced(drop=frozenset({index})))]
            if could_stay and could_go:
                yield _Group(frozenset(could_stay + could_go), len(could_stay))

    def _same(self, best: _Best, forced: Forced) -> bool:
        return self.best(forced).cost == best.cost


def _pair_cost(entry: DesiredDisk, disk: Disk) -> Cost | None:
    if disk.size > entry.size:
        return None
    grown = entry.size - disk.size
    return (0, 0, int(grown > 0), grown, len(_differing(entry, disk)), 0)


def _weighed(findings: Sequence[Finding], *, loses: bool) -> Iterator[Finding]:
    """What was found blocks the pool, but for one exception.

    A permission to replace that has nothing left to replace is what an interrupted replacement leaves
    behind, and its disk must still be added. Beside another removal it could cover a disk nobody meant.
    """
    for each in findings:
        left_over = each.rule == UNUSED_PERMISSION and not loses
        yield replace(each, severity=Severity.WARN) if left_over else each


def _differing(entry: DesiredDisk, disk: Disk) -> tuple[str, ...]:
    if not _declares(entry):
        return ()
    return tuple(
        name
        for name in ATTRIBUTES
        if (wanted := getattr(entry, name)) is not None and wanted != getattr(disk, name)
    )


def _declares(entry: DesiredDisk) -> bool:
    return entry.iops is not None or entry.throughput is not None or entry.kms_id is not None


def _disk_order(disk: Disk) -> tuple[str, str, int]:
    return (disk.id, disk.type, disk.size)


def _entry_order(entry: DesiredDisk) -> tuple[str, int, str, str, bool, Position]:
    attributes = "/".join(str(getattr(entry, name)) for name in ATTRIBUTES) if _declares(entry) else ""
    return (entry.type, entry.size, entry.id, attributes, entry.replace, entry.at)


def _change_order(change: Change) -> tuple[object, ...]:
    entry = _entry_order(change.desired) if change.desired else ()
    return (change.live is None, _disk_order(change.live) if change.live else (), *entry)
