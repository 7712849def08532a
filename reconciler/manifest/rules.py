"""Checks the rules between keys of an entry, between entries and between files.

They read the value trees, not validated models, so that a fault elsewhere hides none of these; ``schema``
checks each key alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from reconciler.manifest.events import FORBIDDEN
from reconciler.manifest.faults import shown
from reconciler.manifest.message import FIELDS, is_blank, unknown_fields
from reconciler.manifest.tree import Map, Seq, Value
from reconciler.model import MAX_POOL_DISKS
from reconciler.safe_text import safe_text

if TYPE_CHECKING:
    from reconciler.manifest.builder import Document
    from reconciler.manifest.faults import Faults
    from reconciler.model import Position

_TYPES: Final = frozenset({"SAS", "SSD", "SATA", "GPSSD", "ESSD", "GPSSD2", "ESSD2"})
"""Documented volume types; others may exist, so only a wrong case of these is refused."""
_SHARE: Final = re.compile("[0-9]{1,3}%")


class Rules:
    """Checks one document after another and remembers where each pool, pin, limit and policy was declared."""

    def __init__(self) -> None:
        self._pools: dict[tuple[str, ...], tuple[Position, str]] = {}
        self._pins: dict[str, Position] = {}
        self._limits: dict[str, tuple[Value, Position]] = {}
        self._policies: dict[tuple[str, ...], Position] = {}
        self._profiles: dict[tuple[str, ...], tuple[str, Position]] = {}

    def check(self, document: Document, faults: Faults) -> None:
        """Add the faults of this document, alone or together with those checked before."""
        root = document.root
        if not isinstance(root, Map):
            return
        target = _map(root, "target")
        project = (_text(target, "region"), _text(target, "project_id"))
        if target is not None and all(project):
            self._profile(project, target, faults)
        _announcements(root, faults)
        for pool in maps(root, "pools"):
            self._pool(project, pool, faults)
        if (limits := _map(root, "limits")) is not None:
            self._ceilings(limits, faults)
        if (drift := _map(root, "drift")) is not None:
            self._drift(project, drift, root, faults)

    def _profile(self, project: tuple[str, ...], target: Map, faults: Faults) -> None:
        profile = _text(target, "profile")
        first, place = self._profiles.setdefault(project, (profile, faults.position(target.at)))
        if first != profile:
            faults.add(
                target.at,
                f"this target has {_profile(profile)} here and {_profile(first)} at {place}; "
                "write the same profile in both",
            )

    def _pool(self, project: tuple[str, ...], pool: Map, faults: Faults) -> None:
        if "name" not in pool and "id" not in pool:
            faults.add(pool.at, "the pool has neither name nor id; write at least one of them")
        for key in ("name", "id"):
            if value := _text(pool, key):
                here, own_id = faults.position(pool.at), _text(pool, "id")
                first, its_id = self._pools.setdefault((*project, key, value), (here, own_id))
                # Two live pools may have the same name; entries with different ids then are different pools.
                namesakes = key == "name" and own_id and its_id and own_id != its_id
                if first != here and not namesakes:
                    faults.add(
                        pool.value_mark(key),
                        f"duplicate pool with {key} {shown(value)}; it is already declared at {first}; merge the two",
                    )
        disks = pool.get("disks")
        if not isinstance(disks, Seq):
            return
        if not disks and pool.get("allow_empty") is not True:
            faults.add(
                pool.value_mark("disks"),
                "disks: an empty list removes every data disk of the pool; list its disks, or add "
                "'allow_empty: true' to the pool if you mean that",
            )
        total = 0
        for disk in maps(pool, "disks"):
            total += self._disk(disk, faults)
        if total > MAX_POOL_DISKS and len(disks) <= MAX_POOL_DISKS:
            faults.add(
                pool.value_mark("disks"),
                f"disks: the counts add up to {total} disks; write at most {MAX_POOL_DISKS}",
            )

    def _disk(self, disk: Map, faults: Faults) -> int:
        """Check one disk entry and return how many disks it declares."""
        spelling = _text(disk, "type")
        if spelling not in _TYPES and spelling.upper() in _TYPES:
            faults.add(
                disk.value_mark("type"),
                f"type: {shown(spelling)} is not a volume type; write {spelling.upper()}",
            )
        count = disk.get("count", 1)
        count = count if isinstance(count, int) else 1
        if "id" not in disk:
            return count
        if count > 1:
            faults.add(
                disk.value_mark("count"),
                "count: an entry with an id is exactly one disk; remove count, and list the others without id",
            )
        if pin := _text(disk, "id"):
            first = self._pins.setdefault(pin, faults.position(disk.at))
            if first != faults.position(disk.at):
                faults.add(
                    disk.value_mark("id"),
                    f"disk {shown(pin)} is pinned twice; it is already pinned at {first}; keep one",
                )
        return 1

    def _ceilings(self, limits: Map, faults: Faults) -> None:
        for key, value in limits.items():
            if isinstance(value, int) or _SHARE.fullmatch(str(value)):
                here = faults.position(limits.value_mark(key))
                first, place = self._limits.setdefault(key, (value, here))
                if first != value:
                    faults.add(
                        limits.value_mark(key),
                        f"{key}: the limit is {value} here and {first} at {place}; a limit applies to the "
                        "whole run, so write it once",
                    )

    def _drift(self, project: tuple[str, ...], drift: Map, root: Map, faults: Faults) -> None:
        first = self._policies.setdefault(project, faults.position(drift.at))
        if first != faults.position(drift.at):
            faults.add(
                root.key_mark("drift"), f"this target already has a drift policy at {first}; merge the two"
            )
        correct = drift.get("correct")
        if isinstance(correct, Seq) and "remove" in correct and "disks_per_day" not in drift:
            faults.add(
                drift.at,
                "'disks_per_day' is missing; correct lists remove, so write how many disks may be removed per day",
            )
        for window in maps(drift, "windows"):
            check_window(window, faults)


def _announcements(root: Map, faults: Faults) -> None:
    """Add the faults of messages: fields that nothing fills in, and disks that go before anybody has read of them."""
    defaults = _map(root, "defaults")
    shared = _map(defaults, "announce")
    _message(shared, faults)
    for pool in maps(root, "pools"):
        own = _map(pool, "announce")
        _message(own, faults)
        if (own is None and shared is None) or "grace" in pool or (defaults and "grace" in defaults):
            continue
        faults.add(
            pool.at if own is None else pool.key_mark("announce"),
            "announce: the pool has no grace, so a disk goes before anybody can read of it; write grace: 7d "
            "into the pool or under defaults, or take announce out",
        )


def _message(announce: Map | None, faults: Faults) -> None:
    text = _text(announce, "text")
    if announce is None or not text:
        return
    if is_blank(text):
        faults.add(announce.value_mark("text"), "text: is blank; write what the people are to read")
    elif hidden := FORBIDDEN.search(text):  # by an escape: as it is, no file may hold it
        faults.add(
            announce.value_mark("text"),
            f"text: has the control character {safe_text(hidden[0])} by which it may read as something else; remove it",
        )
    for wrong in unknown_fields(text):
        faults.add(
            announce.value_mark("text"),
            f"text: {shown(wrong)} is no field; write {', '.join(f'{{{each}}}' for each in FIELDS)}, and no other "
            "braces",
        )


def _profile(name: str) -> str:
    return f"the profile {shown(name)}" if name else "no profile"


def check_window(window: Map, faults: Faults) -> None:
    """Add the faults between the keys of a window of the week."""
    start, end, zone = _text(window, "start"), _text(window, "end"), _text(window, "timezone")
    if start and start == end:
        faults.add(
            window.value_mark("end"),
            f"end: equal to start ({start}), so the window never opens; write a different time",
        )
    if zone and not _known_zone(zone):
        faults.add(
            window.value_mark("timezone"),
            f"timezone: {shown(zone)} is unknown; write an IANA name, such as Asia/Bangkok",
        )


def _known_zone(name: str) -> bool:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415 - only windows need it

    if name in {"localtime", "posixrules", "Factory"}:
        return False  # files next to the zones that differ between machines
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _map(node: Map | None, key: str) -> Map | None:
    value = node.get(key) if node is not None else None
    return value if isinstance(value, Map) else None


def maps(node: Map, key: str) -> Iterator[Map]:
    """The mappings in the list under a key; nothing where it is no list."""
    value: Value | None = node.get(key)
    if isinstance(value, Seq):
        yield from (each for each in value if isinstance(each, Map))


def _text(node: Map | None, key: str) -> str:
    value = node.get(key) if node is not None else None
    return value if isinstance(value, str) else ""
