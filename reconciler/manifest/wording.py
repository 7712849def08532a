"""Turns pydantic's errors about a document into messages that name the key, the fault and what to write instead.

``schema`` defines what a valid document is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from reconciler.manifest import schema
from reconciler.manifest.faults import shown
from reconciler.manifest.tree import BROKEN, Map, Seq, locate
from reconciler.model import MAX_DISK_GB, MAX_POOL_DISKS
from reconciler.values import Struct

if TYPE_CHECKING:
    from pydantic import ValidationError

    from reconciler.manifest.builder import Document
    from reconciler.manifest.faults import Faults

Path: TypeAlias = tuple[str | int, ...]


class Vocabulary(Struct, frozen=True):
    """The words of one kind of document."""

    places: Mapping[tuple[str, ...], tuple[type[schema.Entry], str]]
    """The model of each part, and where in the document it is in words; by its keys from the root."""
    advice: Mapping[str, str]
    """What to write: by the keys from the root with dots between them, or by the last key alone."""
    kind: str
    """``a manifest``."""
    root: str
    """What to write at the root."""


_PLACES: Final[Mapping[tuple[str, ...], tuple[type[schema.Entry], str]]] = {
    (): (schema.DocumentEntry, "at the top of the document"),
    ("target",): (schema.TargetEntry, "under target"),
    ("defaults",): (schema.DefaultsEntry, "under defaults"),
    ("defaults", "announce"): (schema.AnnounceEntry, "under announce"),
    ("defaults", "backup"): (schema.BackupEntry, "under defaults.backup"),
    ("limits",): (schema.LimitsEntry, "under limits"),
    ("pools",): (schema.PoolEntry, "in a pool's entry"),
    ("pools", "disks"): (schema.DiskEntry, "in a disk's entry"),
    ("pools", "announce"): (schema.AnnounceEntry, "under announce"),
    ("pools", "backup"): (schema.BackupEntry, "under a pool's backup"),
    ("drift",): (schema.DriftEntry, "under drift"),
    ("drift", "windows"): (schema.WindowEntry, "in a window of drift"),
}

CEILING: Final = "write a whole number, 0 or more"
SHARE: Final = "write whole percent with the sign, from 0% to 100%, such as 50%"
GRACE: Final = "write a number with s, m, h or d, from 1s to 365d, such as 7d"
_CHANGES: Final = "write a list of remove, expand and add, such as [remove]"
_SWITCH: Final = "write true or false"
WINDOW: Final[Mapping[str, str]] = {
    "windows entry": "write a mapping with days, start, end and timezone",
    "days": "write a list of days, such as [mon, tue]",
    "days entry": "write mon, tue, wed, thu, fri, sat or sun",
    "start": "write the time as 'HH:MM', from '00:00' to '23:59'",
    "end": "write the time as 'HH:MM', from '00:00' to '23:59'",
    "timezone": "write an IANA name, such as Asia/Bangkok",
}
"""Advice on a window, wherever it stands."""
_ADVICE: Final[Mapping[str, str]] = {
    "version": "write version: 1",
    "target": "write target: {region: ap-southeast-3, project_id: the project's id}",
    "region": "write the region's id in lower case, with its number, such as ap-southeast-3",
    "project_id": "write the project's id in quotes: 32 characters of 0-9 and a-f",
    "profile": "write a section of the credentials file: letters, digits, '.', '_' and '-'",
    "defaults": "write a mapping such as {apply_to: idle}",
    "limits": "write a mapping such as {disks: 10, copies: 100, pools: 5}",
    **{f"limits.{name}": CEILING for name in ("disks", "copies", "pools", "gigabytes", "users")},
    "share_of_pool": SHARE,
    "share_of_run": SHARE,
    "pools": "write a list of pools, each as '- name: …' with its disks",
    "pools entry": "write the pool as a mapping: '- name: …' with its disks",
    "name": "write the pool's name: 1 to 255 characters",
    "id": "write the id as the service shows it: letters, digits, '.', '_' and '-'",
    "disks": f"list the pool's data disks, such as [{{type: SSD, size: 100}}]; a pool has at most {MAX_POOL_DISKS}",
    "disks entry": "write the disk as a mapping such as {type: SSD, size: 100}",
    "type": "write the volume type as the service spells it, such as SAS or SSD",
    "size": "write the size in GB as a whole number, such as 100",
    "count": f"write the number of such disks: 1 to {MAX_POOL_DISKS}",
    "iops": "write a whole number, 1 or more",
    "throughput": "write a whole number of MiB/s, 1 or more",
    "kms_id": "write the key's id: letters, digits, '.', '_' and '-'",
    "replace": _SWITCH,
    "allow_empty": _SWITCH,
    "allow_live_sessions": _SWITCH,
    "allow_count_mismatch": _SWITCH,
    "protect": "write a list of disk ids, such as [305d3c76-199f-4407-8d82-2a42d970595e]",
    "protect entry": "write a disk's id: letters, digits, '.', '_' and '-'",
    "apply_to": "write new, idle or all",
    "on_tie": "write remove_newest or remove_oldest",
    "manage": _CHANGES,
    "manage entry": "write remove, expand or add",
    "grace": GRACE,
    "announce": "write a mapping such as {text: 'Disk {disk} of {pool} ({size}) goes after {date}.'}",
    "text": f"write what the people of the pool are to read, 1 to {schema.LONGEST_MESSAGE} characters",
    "backup": "write a mapping such as {within: 24h}",
    "within": GRACE,
    "owner": "write a name of lower case letters, digits and '-', such as finance",
    "drift": "write a mapping with correct, disks_per_day and windows",
    "correct": _CHANGES,
    "correct entry": "write remove, expand or add",
    "disks_per_day": CEILING,
    "windows": "write a list such as [{days: [sat], start: '22:00', end: '06:00', timezone: Asia/Bangkok}]",
    **WINDOW,
}

MANIFEST: Final = Vocabulary(_PLACES, _ADVICE, "a manifest", "write a mapping with version, target and pools")
"""The words of a manifest."""

_SECRETS: Final = frozenset(
    {"ak", "sk", "accesskey", "secretkey", "accesskeyid", "secretaccesskey", "secret", "password", "passwd"}
    | {"pwd", "token", "authtoken", "xauthtoken", "securitytoken", "sessiontoken", "apikey", "credential"}
    | {"credentials", "username", "domainname"}
)
_NUMBER: Final = re.compile("[1-9][0-9]{0,17}")
_UNITS: Final = dict.fromkeys(schema.LimitsEntry.model_fields, "percent sign") | {
    "grace": "unit",
    "within": "unit",
    "backup": "unit",  # of a policy; a manifest's is a mapping
}
"""What a bare number lacks, by key."""
_ENDPOINTS: Final = frozenset({"endpoint", "iamendpoint", "endpoints", "url", "host"})


def report(error: ValidationError, document: Document, faults: Faults, words: Vocabulary = MANIFEST) -> None:
    """Add one fault for each of pydantic's errors, at its position."""
    for each in error.errors(include_url=False):
        path: Path = each["loc"]
        kind, value = each["type"], each["input"]
        if kind == "extra_forbidden":
            parent = document.root if len(path) == 1 else _node(document, path[:-1])
            key = str(path[-1])
            mark = parent.key_mark(key) if isinstance(parent, Map) else document.at
            parents = tuple(step for step in path[:-1] if isinstance(step, str))
            faults.add(mark, _unknown_key(key, parents, words))
        elif not path:
            # The content is not quoted: it may be a token file given by mistake.
            faults.add(document.at, f"not {words.kind}; {words.root}")
        elif value is not BROKEN:
            sentence = _sentence(kind, _name_and_advice(path, words), value, each.get("ctx", {}))
            faults.add(locate(document.root, document.at, path), sentence)


def _node(document: Document, path: Path) -> Any:
    node: Any = document.root
    for step in path:
        node = node[step]
    return node


def _unknown_key(key: str, parent: tuple[str, ...], words: Vocabulary) -> str:
    plain = key.lower().replace("_", "").replace("-", "")
    if key == "<<":
        return "merge keys are not allowed; write the entries out"
    if plain in _SECRETS:
        return (
            f"{shown(key)} is not allowed in {words.kind}; put credentials into the environment or the credentials "
            "file, remove them here, and change the secret if anybody else can read this file"
        )
    if plain in _ENDPOINTS:
        return f"{shown(key)} is not allowed in {words.kind}; use --endpoint or RECONCILER_ENDPOINT"
    known = list(words.places[parent][0].model_fields)
    if close := _closest(key, known):
        return f"unknown key {shown(key)}; did you mean {close!r}?"
    homes = [home for model, home in words.places.values() if key in model.model_fields]
    if homes:
        return f"unknown key {shown(key)} here; write it {' or '.join(homes)}"
    return f"unknown key {shown(key)}; the keys here are {', '.join(known)}"


def _sentence(kind: str, named: tuple[str, str], value: Any, context: Mapping[str, Any]) -> str:
    name, advice = named
    match kind:
        case "missing":
            return f"{name!r} is missing; {advice}"
        case _ if name == "version":
            what = f"{_shown_briefly(value)} is unknown"
        case "literal_error":
            what, advice = f"{_shown_briefly(value)} is unknown", _with_suggestion(value, advice)
        case "multiple_of" | "greater_than_equal" | "less_than_equal":
            what, advice = _out_of_range(kind, value, context)
        case "string_type" if isinstance(value, int) and name in _UNITS:
            what = f"{_shown_briefly(value)} has no {_UNITS[name]}"
        case "string_type" if isinstance(value, int):
            what, advice = f"{_shown_briefly(value)} is not text", f'write it in quotes: "{_plain(value)}"'
        case "int_type" if isinstance(value, str) and _NUMBER.fullmatch(value):
            what, advice = f"{shown(value)} is text", f"write {value} without quotes"
        case "bool_type" if isinstance(value, str) and value.lower() in ("true", "false"):
            what, advice = f"{shown(value)} is text", f"write {value.lower()} without quotes"
        case "too_long":
            what = f"{len(value)} entries are too many"
        case "too_short" | "string_too_short":
            what = "must not be empty"
        case "string_too_long":
            what = f"{len(value)} characters are too many"
        case _:
            what = f"{_shown_briefly(value)} is not accepted"
    return f"{name}: {what}; {advice}"


def _name_and_advice(path: Path, words: Vocabulary) -> tuple[str, str]:
    dotted = ".".join(step for step in path if isinstance(step, str))
    entry = " entry" if isinstance(path[-1], int) else ""
    name = f"{next(step for step in reversed(path) if isinstance(step, str))}{entry}"
    return name, words.advice.get(dotted + entry) or words.advice[name]


def _shown_briefly(value: object) -> str:
    match value:
        case Map():
            return "a mapping"
        case Seq():
            return "a list"
        case int():
            return _plain(value) if len(_plain(value)) <= 20 else "this number"
        case _:
            return shown(value)


def _plain(value: int) -> str:
    return str(value).lower()


def _out_of_range(kind: str, value: int, context: Mapping[str, Any]) -> tuple[str, str]:
    match kind:
        case "multiple_of":
            return f"{_shown_briefly(value)} is not a multiple of {schema.SIZE_STEP}", _nearest_sizes(value)
        case "greater_than_equal":
            return f"{_shown_briefly(value)} is too small", f"write {context['ge']} or more"
        case _:
            return f"{_shown_briefly(value)} is too large", f"write {context['le']} or less"


def _nearest_sizes(size: int) -> str:
    below = size - size % schema.SIZE_STEP
    near = [each for each in (below, below + schema.SIZE_STEP) if schema.MIN_SIZE <= each <= MAX_DISK_GB]
    return f"write {' or '.join(map(str, near)) or f'{schema.MIN_SIZE} to {MAX_DISK_GB}'}"


def _with_suggestion(value: object, advice: str) -> str:
    close = _closest(value, advice.replace(",", " ").split()) if isinstance(value, str) else ""
    return f"{advice}; did you mean {close!r}?" if close else advice


def _closest(word: str, known: list[str]) -> str:
    """The known word that is most like this one; empty where none is like it."""
    from difflib import get_close_matches  # noqa: PLC0415 - most manifests have no fault

    return next(iter(get_close_matches(word, known, n=1)), "")
