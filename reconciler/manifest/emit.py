"""Writes manifests for live pools, so that a team can adopt the tool with one command and an empty first plan.

Pure: the callers read the live pools and write the files.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from reconciler.manifest.load import check
from reconciler.model import ABSENT_DISKS, ApplyTo, Disk, Limits, Pool, Target

SCHEMA: Final = "# yaml-language-server: $schema=reconciler.schema.json"
"""For editors; ``reconciler schema`` prints that file."""
APPLY_TO: Final = ApplyTo.IDLE.value
"""Desktops that nobody is working on: with nothing written, the service would decide."""
_LIMITS = ", ".join(f"{name}: {limit.value}" for name, limit in Limits().items() if limit.value is not None)
LIMITS: Final = (
    "# The most that one run may destroy; these are the defaults, also without this line.",
    f"# limits: {{{_LIMITS}}}",
)
_PLAIN: Final = re.compile("[A-Za-z][A-Za-z0-9_-]*")
_WORDS_WITH_MEANING: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def emit(pools: Sequence[Pool], target: Target, ambiguous: Collection[str] = ()) -> str:
    """One YAML document that declares these pools as they are, in this order.

    ``ambiguous`` holds names that other live pools share; those pools, and pools of the same name within
    ``pools``, are declared by id as well. A pool that a manifest cannot declare (for example one with a
    15 GB disk) becomes a comment with the reason and stays unmanaged. Above the pools stand which desktops a change
    reaches, the limits of a run as a comment, and where an editor finds the schema.
    """
    counts = Counter(pool.name for pool in pools)
    shared = set(ambiguous) | {name for name, count in counts.items() if count > 1}
    head = ["version: 1", f"target: {_target(target)}", f"defaults: {{apply_to: {APPLY_TO}}}"]
    declared = False
    body: list[str] = []
    for pool in pools:
        if not pool.disks and (doubts := [each for each in pool.doubts if each != ABSENT_DISKS]):
            # Nothing is known of its disks: declared as having none, they would all be removed some day.
            reasons = _quoted("; ".join(doubts))
            body.append(
                f"  # {_quoted(pool.name)} (id {_quoted(pool.id)}) cannot be declared: doubtful: {reasons}"
            )
            continue
        entry = list(_pool(pool, pool.name in shared))
        # Ask the reader itself what a manifest can declare; a second set of rules here could disagree.
        if faults := check("", "\n".join([*head, "pools:", *entry]).encode("utf-8")):
            reasons = "; ".join(fault.what for fault in faults[:3])
            body.append(f"  # {_quoted(pool.name)} (id {_quoted(pool.id)}) cannot be declared: {reasons}")
        else:
            declared = True
            body += entry
    return "\n".join([SCHEMA, *head, *LIMITS, "pools:" if declared else "pools: []", *body]) + "\n"


def _target(target: Target) -> str:
    fields = [f"region: {_text(target.region)}", f'project_id: "{target.project_id}"']
    if target.profile:
        fields.append(f"profile: {_text(target.profile)}")
    return "{" + ", ".join(fields) + "}"


def _identity(pool: Pool, shares_its_name: bool) -> dict[str, str]:
    identity = {"name": pool.name} if _writable(pool.name) else {}
    if shares_its_name or not identity:
        identity["id"] = pool.id
    return identity


def _writable(name: str) -> bool:
    """True if YAML can hold the name: not empty, not too long, no lone surrogates."""
    return 0 < len(name) <= 255 and not any("\ud800" <= character <= "\udfff" for character in name)


def _pool(pool: Pool, shares_its_name: bool) -> Iterator[str]:
    identity = _identity(pool, shares_its_name)
    start = "  - "
    for key, value in identity.items():
        comment = "" if "id" in identity else f"  # id {_quoted(pool.id)}"
        yield f"{start}{key}: {_text(value)}{comment}"
        start = "    "
    for doubt in pool.doubts:
        yield f"    # doubtful when read: {_quoted(doubt)}"
    if not pool.disks:
        yield "    disks: []"
        yield "    allow_empty: true"
        return
    yield "    disks:"
    alike: dict[tuple[str, int], list[Disk]] = {}
    for disk in pool.disks:
        alike.setdefault((disk.type, disk.size), []).append(disk)
    for (kind, size), disks in sorted(alike.items()):
        count = f", count: {len(disks)}" if len(disks) > 1 else ""
        ids = ", ".join(_quoted(each) for each in sorted(disk.id for disk in disks))
        yield f"      - {{type: {_text(kind)}, size: {size}{count}}}  # id {ids}"


def _text(value: str) -> str:
    """The value as YAML that our reader and other YAML readers parse as exactly this text."""
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS_WITH_MEANING:
        return value
    return _quoted(value)


def _quoted(value: str) -> str:
    """The value in double quotes, with everything escaped that could end the line or the quotes."""
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
