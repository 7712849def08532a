"""Loads manifests: reads, parses, validates and cross-checks files, and converts them to the desired state.

Each step has its own module; ``planning.matching`` compares the result with the live state.
"""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final, cast

from pydantic import ValidationError

from reconciler.errors import BadInput, Fault
from reconciler.manifest import events, schema, wording
from reconciler.manifest.faults import Faults, TooManyFaults
from reconciler.manifest.files import Files
from reconciler.manifest.foreign import is_foreign
from reconciler.manifest.paths import refusal, shown_path
from reconciler.manifest.rules import Rules
from reconciler.manifest.scalars import duration
from reconciler.manifest.sources import seen
from reconciler.manifest.tree import Map, Seq
from reconciler.model import (
    Action,
    ApplyTo,
    BackupRule,
    DesiredDisk,
    DesiredPool,
    DriftPolicy,
    Limit,
    Limits,
    Manifest,
    OnTie,
    Position,
    Target,
    Window,
)

_PERMITTING: Final = (
    "allow_empty",
    "allow_live_sessions",
    "allow_count_mismatch",
    "on_tie",
    "manage",
    "backup",
)
"""Keys that permit what is refused by default, or that a finding names: with the line of each."""
_PERMITTING_KEYS: Final = frozenset(_PERMITTING)
_PLACES: Final = 4
"""Most given paths that one line names."""


def load(paths: Sequence[Path | str], *, follow_symlinks: bool = False) -> Manifest:
    """As ``read``, for work on pools: that no file declares a pool is a fault as well."""
    manifest = read(paths, follow_symlinks=follow_symlinks)
    if not manifest.pools:
        where = next((file for file, _ in manifest.sources), os.fspath(paths[0]) if paths else "<flags>")
        what = "no file declares a pool; list at least one under pools"
        raise _bad_input([refusal(where, what)], " ".join(manifest.notes))
    return manifest


def read(paths: Sequence[Path | str], *, follow_symlinks: bool = False) -> Manifest:
    """The merged manifest of all files and directories; raises ``BadInput`` with every fault of every file.

    A directory stands for the ``.yaml`` and ``.yml`` files in it and below it, as ``folder`` finds them.
    """
    with _collector_paused():
        return _read_files(Files(paths, follow_symlinks=follow_symlinks))


@contextmanager
def _collector_paused() -> Iterator[None]:
    # Ten thousand pools are half a million live objects and no garbage: the collector would take a third
    # of the time and free nothing.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def check(file: str, data: bytes) -> tuple[Fault, ...]:
    """The faults of this content as a single manifest file; empty if there are none."""
    faults = Faults(file)
    _read(data, Rules(), _Merged(), faults)
    return tuple(faults.found)


def _read_files(files: Files) -> Manifest:
    rules = Rules()
    merged = _Merged()
    found: list[Fault] = list(files.faults)
    notes = list(files.notes)
    sources: list[tuple[str, str]] = []
    for file, data in files.read:
        if is_foreign(data):
            notes.append(
                f"Left out: {shown_path(file)} is no manifest (it has kind or apiVersion at its root)."
            )
            continue
        faults = Faults(shown_path(file))
        _read(data, rules, merged, faults)
        found += faults.found
        sources.append((file, hashlib.sha256(data).hexdigest()))
    if found:
        raise _bad_input(found, " ".join(notes))
    merged.pools.sort(key=lambda pool: (pool.target, pool.label, pool.id))
    return Manifest(
        pools=tuple(merged.pools),
        limits=Limits(**merged.limits),
        drift=tuple(sorted(merged.drift, key=lambda policy: policy.target)),
        sources=tuple(sorted(sources)),
        places=tuple(merged.places.items()),
        seen=seen(files),
        notes=(_what_was_read(len(sources), merged, files.given), *notes),
    )


def _what_was_read(files: int, merged: _Merged, given: Sequence[str]) -> str:
    amounts = f"{_count(files, 'file')}, {_count(len(merged.pools), 'pool')} and {_count(len(merged.limits), 'limit')}"
    places = [shown_path(path) if path != "." else "the current folder" for path in dict.fromkeys(given)]
    if len(places) > _PLACES:
        places[_PLACES - 1 :] = [f"{len(places) - _PLACES + 1} more places"]
    return (
        f"Read {amounts} from {' and '.join([', '.join(places[:-1]), *places[-1:]]).removeprefix(' and ')}."
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s'[: number != 1]}"


def _read(data: bytes, rules: Rules, merged: _Merged, faults: Faults) -> None:
    try:
        for document in events.documents(data, faults):
            rules.check(document, faults)
            try:
                entry = schema.DocumentEntry.model_validate(document.root)
            except ValidationError as error:
                wording.report(error, document, faults)
            else:
                # Merged even if an earlier document has faults: with any fault, nothing merged is returned.
                merged.add(entry, cast(Map, document.root), faults)
    except TooManyFaults:
        pass  # the last fault says so


def _bad_input(found: list[Fault], hint: str = "") -> BadInput:
    files = len({fault.file for fault in found})
    faults = "1 fault" if len(found) == 1 else f"{len(found)} faults"
    where = "1 file" if files == 1 else f"{files} files"
    return BadInput(f"the manifests have {faults} in {where}", hint, faults=tuple(found))


class _Merged:
    """What all documents read so far declare."""

    def __init__(self) -> None:
        self.pools: list[DesiredPool] = []
        self.limits: dict[str, Limit] = {}
        self.drift: list[DriftPolicy] = []
        self.places: dict[Target, Position] = {}

    def add(self, entry: schema.DocumentEntry, root: Map, faults: Faults) -> None:
        """Add one valid document; ``root`` is its tree, which has the positions."""
        target = Target(entry.target.region, entry.target.project_id, entry.target.profile)
        defaults = cast(Map | None, root.get("defaults"))
        shared = _permitted_at(defaults, faults)
        self.places.setdefault(target, faults.position(cast(Map, root["target"]).at))
        for pool, node in zip(entry.pools, cast(Seq, root.get("pools", ())), strict=True):
            self.pools.append(_pool(pool, cast(Map, node), (target, entry.defaults, shared), faults))
        for name in entry.limits.model_fields_set:
            place = faults.position(cast(Map, root["limits"]).value_mark(name))
            self.limits.setdefault(name, Limit(amount(getattr(entry.limits, name)), str(place)))
        if entry.drift is not None:
            self.drift.append(_drift(entry.drift, target, cast(Map, root["drift"]), faults))


_Places = dict[str, Position]


def _permitted_at(node: Map | None, faults: Faults) -> _Places:
    if not node or _PERMITTING_KEYS.isdisjoint(node):  # as a rule
        return {}
    return {key: faults.position(node.value_mark(key)) for key in _PERMITTING if key in node}


def _pool(
    entry: schema.PoolEntry, node: Map, context: tuple[Target, schema.DefaultsEntry, _Places], faults: Faults
) -> DesiredPool:
    target, defaults, shared = context
    apply_to = entry.apply_to or defaults.apply_to
    on_tie = entry.on_tie or defaults.on_tie
    manage = entry.manage if entry.manage is not None else defaults.manage
    grace = entry.grace or defaults.grace
    announce = entry.announce or defaults.announce
    backup = entry.backup or defaults.backup
    live = (
        entry.allow_live_sessions if entry.allow_live_sessions is not None else defaults.allow_live_sessions
    )
    places = _permitted_at(node, faults)
    disks: list[DesiredDisk] = []
    for disk, place in zip(entry.disks, cast(Seq, node["disks"]), strict=True):
        at = faults.position(cast(Map, place).at)
        one = DesiredDisk(
            disk.type, disk.size, at, disk.id or "", disk.iops, disk.throughput, disk.kms_id, disk.replace
        )
        disks.extend((one,) * disk.count)
    return DesiredPool(
        target=target,
        at=faults.position(node.at),
        disks=tuple(disks),
        name=entry.name or "",
        id=entry.id or "",
        protect=tuple(entry.protect),
        apply_to=ApplyTo(apply_to) if apply_to else None,
        allow_empty=entry.allow_empty,
        allow_live_sessions=bool(live),
        allow_count_mismatch=entry.allow_count_mismatch,
        on_tie=OnTie(on_tie) if on_tie else None,
        manage=frozenset({Action.REMOVE}) if manage is None else frozenset(map(Action, manage)),
        grace=duration(grace) if grace else timedelta(0),
        announce=announce.text if announce else "",
        backup=BackupRule(duration(backup.within), (shared | places)["backup"]) if backup else None,
        owner=entry.owner or defaults.owner or "",
        permitted_at=tuple((shared | places).items()),
    )


def amount(value: int | str | None) -> int | None:
    """A limit as a number: a count, or percent without its sign."""
    return int(value.removesuffix("%")) if isinstance(value, str) else value


def windows(entries: Sequence[schema.WindowEntry], node: Map, faults: Faults) -> tuple[Window, ...]:
    """The windows under the key ``windows`` of a mapping."""
    places = cast(Seq, node.get("windows", ()))
    return tuple(
        Window(tuple(each.days), each.start, each.end, each.timezone, faults.position(cast(Map, place).at))
        for each, place in zip(entries, places, strict=True)
    )


def _drift(entry: schema.DriftEntry, target: Target, node: Map, faults: Faults) -> DriftPolicy:
    return DriftPolicy(
        target=target,
        at=faults.position(node.at),
        correct=frozenset(map(Action, entry.correct)),
        disks_per_day=entry.disks_per_day,
        windows=windows(entry.windows, node, faults),
    )
