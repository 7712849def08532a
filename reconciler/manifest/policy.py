"""Reads a policy file: strict YAML with positions, as manifests are read, in one document.

What a policy does to a plan is left to ``planning.policy``, verifying signatures to ``cli.signatures``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import cast

from pydantic import ValidationError

from reconciler.errors import BadInput, Fault
from reconciler.manifest import events, wording
from reconciler.manifest.faults import Faults, TooManyFaults, shown
from reconciler.manifest.load import amount, windows
from reconciler.manifest.paths import NotRegular, contents, reason, refusal, shown_path
from reconciler.manifest.policy_schema import POLICY, CeilingsEntry, PolicyEntry
from reconciler.manifest.rules import check_window, maps
from reconciler.manifest.scalars import duration
from reconciler.manifest.tree import Map, Seq
from reconciler.model import ApprovalRule, BackupRule, Limit, Limits, Placed, Policy


def read_policy(path: Path) -> Policy:
    """The policy in a file; raises ``BadInput`` with every fault of it."""
    try:
        data = contents(os.fspath(path), events.MAX_BYTES)
    except NotRegular:
        raise _unusable([refusal(os.fspath(path), "not a regular file; name the policy file")]) from None
    except (OSError, ValueError) as error:
        raise _unusable([refusal(os.fspath(path), reason(error))]) from None
    if len(data) > events.MAX_BYTES:
        raise _unusable([refusal(os.fspath(path), f"larger than {events.MAX_BYTES // 1024} KiB")])
    faults = Faults(shown_path(os.fspath(path)))
    policy = None
    with suppress(TooManyFaults):  # the last fault says so
        policy = _read(data, path, faults)
    if faults.found or policy is None:
        raise _unusable(faults.found)
    return policy


def _unusable(faults: Sequence[Fault]) -> BadInput:
    return BadInput(
        f"the policy cannot be used: it has {len(faults)} fault{'s'[: len(faults) != 1]}; nothing was sent",
        "correct the policy; without it, nothing that it might forbid is done",
        faults=tuple(faults),
    )


def _read(data: bytes, path: Path, faults: Faults) -> Policy | None:
    documents = events.documents(data, faults, "version: 1 and what it demands")
    for further in documents[1:]:
        faults.add(further.at, "a policy is one document; write everything into the first")
    for document in documents[:1]:
        _check(document.root, faults)
        try:
            entry = PolicyEntry.model_validate(document.root)
        except ValidationError as error:
            wording.report(error, document, faults, POLICY)
        else:
            return _policy(entry, cast(Map, document.root), (path, hashlib.sha256(data).hexdigest()), faults)
    return None


def _check(root: object, faults: Faults) -> None:
    """Add the faults between keys: what is said twice, and windows that never open."""
    if not isinstance(root, Map):
        return
    for window in maps(root, "windows"):
        check_window(window, faults)
    lists = [root.get("targets"), root.get("forbid")]
    if isinstance(protect := root.get("protect"), Map):
        lists += protect.values()
    for each in lists:
        if isinstance(each, Seq):
            for index, value in enumerate(each):
                if value in each[:index]:
                    faults.add(each.marks[index], f"{shown(value)} is listed twice; keep one")


def _policy(entry: PolicyEntry, root: Map, source: tuple[Path, str], faults: Faults) -> Policy:
    path, digest = source
    protect = cast(Map, root.get("protect", Map(root.at)))
    return Policy(
        file=faults.file,
        digest=digest,
        targets=None if entry.targets is None else _placed(root, "targets", faults),
        ceilings=_ceilings(entry.ceilings, root, faults),
        forbid=_placed(root, "forbid", faults),
        require=tuple(_required(entry, root, faults)),
        grace=duration(entry.require.grace) if entry.require.grace else timedelta(0),
        announce=_notice(entry.require.announce),
        backup=_backup(entry, root, faults),
        windows=windows(entry.windows or (), root, faults),
        approvals=_approvals(entry, root, path, faults),
        protect_pools=_placed(protect, "pools", faults),
        protect_disks=_placed(protect, "disks", faults),
    )


def _placed(node: Map, key: str, faults: Faults) -> tuple[Placed, ...]:
    """The words of a list, each with its place."""
    words = cast(Seq, node.get(key, Seq(node.at)))
    return tuple(
        Placed(str(word), faults.position(mark)) for word, mark in zip(words, words.marks, strict=True)
    )


def _ceilings(entry: CeilingsEntry, root: Map, faults: Faults) -> Limits:
    def ceiling(name: str) -> Limit:
        if name not in entry.model_fields_set:
            return Limit(None)
        place = faults.position(cast(Map, root["ceilings"]).value_mark(name))
        return Limit(amount(getattr(entry, name)), str(place), ceiling=True)

    return Limits(**{name: ceiling(name) for name, _ in Limits().items()})


def _required(entry: PolicyEntry, root: Map, faults: Faults) -> Iterator[Placed]:
    names: Iterable[str] = entry.require.model_fields_set
    for name in sorted(names):
        mark = cast(Map, root["require"]).value_mark(name)
        yield Placed(f"{name}: {_plain(getattr(entry.require, name))}", faults.position(mark))


def _plain(value: object) -> str:
    return "true" if value is True else str(value)


def _notice(value: object) -> timedelta | None:
    """How long before a removal the message about it must have been accepted; None where none is demanded."""
    if value is None:
        return None
    return timedelta(0) if value is True else duration(str(value))


def _backup(entry: PolicyEntry, root: Map, faults: Faults) -> BackupRule | None:
    if (within := entry.require.backup) is None:
        return None
    return BackupRule(duration(within), faults.position(cast(Map, root["require"]).value_mark("backup")))


def _approvals(entry: PolicyEntry, root: Map, path: Path, faults: Faults) -> ApprovalRule | None:
    if (asked := entry.approvals) is None:
        return None
    age = asked.max_age
    return ApprovalRule(
        required=asked.required,
        signers=os.fspath(path.parent / asked.signers),
        max_age=duration(age) if age else None,
        at=faults.position(cast(Map, root["approvals"]).at),
    )
