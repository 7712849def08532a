"""Reads an ``allowed_signers`` file so strictly that each key belongs to one person and each person has a name.

``ssh-keygen`` reads the same file to verify; what it allows beyond this would let one person count as several.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

from reconciler.errors import BadInput, Fault

_WORD = re.compile(r'(?:[^\s"]|"[^"]*")+')
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._%+@:/=-]*")
"""Letters and marks of names and addresses: no pattern (``*``, ``?``, ``!``), no list (``,``), nothing that hides."""

Signers = Mapping[bytes, str]
"""The person to whom each key belongs."""


def parse(text: str, file: str) -> Signers:
    """The people and keys of a file; raises ``BadInput`` with every line that could blur who is who."""
    faults: list[Fault] = []
    owners: dict[bytes, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            name, key = _entry(line)
            first = owners.setdefault(key, name)
            if first != name:
                raise ValueError(f"this key already belongs to {first}; a person has one name")
        except ValueError as error:
            faults.append(Fault(file, number, 1, str(error)))
    if not owners and not faults:
        faults.append(Fault(file, 0, 0, "it lists nobody; write one line per key: NAME KEYTYPE KEY"))
    if faults:
        raise BadInput(
            "the allowed_signers file of the policy cannot be used; nothing was sent",
            "each line is one person's name, then one key",
            faults=tuple(faults),
        )
    return owners


def _entry(line: str) -> tuple[str, bytes]:
    words = _WORD.findall(line)
    name = words[0]
    if not _NAME.fullmatch(name):
        raise ValueError(
            "the name is a pattern, a list, or holds other characters than letters, digits and . _ % + @ : / = -; "
            "write one name"
        )
    for start in (1, 2):  # options may stand between the name and the type of the key
        if len(words) > start + 1 and (key := _key(words[start], words[start + 1])):
            if start == 2 and "cert-authority" in words[1].lower():
                raise ValueError("an authority vouches for names that stand nowhere here; list each key")
            return name, key
    raise ValueError("it has no key that can be read; write NAME KEYTYPE KEY")


def _key(kind: str, encoded: str) -> bytes | None:
    """The bytes of a key, if these two words are one: its type stands inside it again."""
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None
    length = int.from_bytes(blob[:4])
    return blob if blob[4 : 4 + length] == kind.encode() else None


def signing_key(armoured: str) -> bytes | None:
    """The public key inside an SSH signature (PROTOCOL.sshsig), or None; says nothing of whether it is valid."""
    lines = [line for line in armoured.split("\n") if line and not line.startswith("-----")]
    try:
        blob = base64.b64decode("".join(lines), validate=True)
    except (binascii.Error, ValueError):
        return None
    if not blob.startswith(b"SSHSIG"):
        return None
    length = int.from_bytes(blob[10:14])
    return blob[14 : 14 + length]
