"""Saves plans to files that only the owner can read, and loads only what is exactly as saved.

The format, with its check, is left to ``planning.plan_file``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reconciler.errors import BadInput
from reconciler.files import is_regular, owned_by_another, writable_by_others, write_atomically
from reconciler.planning.plan import Plan
from reconciler.planning.plan_file import HINT, KIND, document, read

MAX_BYTES = 256 * 1024 * 1024


def save(plan: Plan, path: Path) -> None:
    """Write ``plan`` to ``path`` with mode 0600; raises ``BadInput`` when that fails."""
    text = json.dumps(
        document(plan), separators=(",", ":")
    )  # ASCII: a path may hold bytes that are not UTF-8
    try:
        write_atomically(path, text)
    except OSError as error:
        raise BadInput(
            f"the plan cannot be written to {path}: {error.strerror}", "name a writable file with --out"
        ) from None


def load(path: Path) -> Plan:
    """Read a saved plan; raises ``BadInput`` unless it is exactly what was saved."""
    try:
        if not is_regular(path):
            raise BadInput(f"the plan file {path} cannot be read: it is not a regular file", HINT)
        if writable_by_others(path):
            raise BadInput(
                f"the plan file {path} can be written by other users, so it may not be what was reviewed",
                f"{HINT}; plan files are made for their owner alone (0600)",
            )
        if owned_by_another(path):
            raise BadInput(
                f"the plan file {path} belongs to another user, so it may not be what was reviewed",
                f"{HINT}; if you trust its owner, copy it, and apply the copy with --approve DIGEST",
            )
        if path.stat().st_size > MAX_BYTES:
            raise BadInput(f"{path} is larger than any plan ({MAX_BYTES} bytes)", HINT)
        document_read: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"the plan file {path} cannot be read: {error.strerror}", HINT) from None
    except (ValueError, RecursionError):
        raise BadInput(f"{path} is not a plan file", HINT) from None
    return read(document_read, str(path))


def is_plan_file(path: Path) -> bool:
    """True when ``path`` begins like a saved plan, so that it is not read as a manifest."""
    try:
        if not is_regular(path):
            return False
        with path.open("rb") as file:
            return file.read(64).startswith(b'{"kind":"' + KIND.encode() + b'"')
    except OSError:
        return False
