"""Owns saved plans: one JSON document with a checksum of its own, as a file or in the journal.

A saved plan is for this tool; people and scripts read it through ``reconciler show`` and ``history show``.
"""

from __future__ import annotations

import functools
import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from reconciler.errors import BadInput
from reconciler.plan import Plan, digest_of

KIND = "reconciler-plan"
FORMAT = 1
NOT_REPLACEABLE = "it is there and is no regular file"
MAX_BYTES = 256 * 1024 * 1024

_HINT = "make a new plan with: reconciler plan PATH… --out FILE"


def save(plan: Plan, path: Path) -> None:
    """Write ``plan`` to ``path`` (mode 0600, written beside and renamed), for the owner alone.

    Raises ``BadInput`` when the place cannot be written.
    """
    text = json.dumps(document(plan), separators=(",", ":"))  # ASCII: a path may hold bytes that are no UTF-8
    try:
        if not replaceable(path):
            raise FileExistsError(0, NOT_REPLACEABLE)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:  # mkstemp made it 0600
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise BadInput(
            f"the plan cannot be written to {path}: {error.strerror}", "name a writable place with --out"
        ) from None


def load(path: Path) -> Plan:
    """Read a saved plan; raises ``BadInput`` when it is anything but exactly what was saved."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise BadInput(f"the plan file {path} cannot be read: it is no regular file", _HINT)
        if path.stat().st_size > MAX_BYTES:
            raise BadInput(f"{path} is larger than any plan ({MAX_BYTES} bytes)", _HINT)
        told: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"the plan file {path} cannot be read: {error.strerror}", _HINT) from None
    except (ValueError, RecursionError):
        raise BadInput(f"{path} is not a plan file", _HINT) from None
    return read(told, str(path))


def replaceable(path: Path) -> bool:
    """Whether a file may be written beside ``path`` and renamed over it; never over a device or a pipe."""
    if path.exists() and not path.is_file():
        return False
    # /dev/stdout and its like are links, to a regular file perhaps.
    return not (path.is_symlink() and any(path.absolute().is_relative_to(each) for each in ("/dev", "/proc")))


def document(plan: Plan) -> dict[str, Any]:
    """A plan as a JSON document that can be read back."""
    body = _adapter().dump_python(plan, mode="json")
    return {"kind": KIND, "format": FORMAT, "digest": plan.digest, "checksum": digest_of(body), "plan": body}


def read(told: Any, path: str) -> Plan:
    """The plan of a document; raises ``BadInput``, naming ``path``, when it is not exactly what was saved."""
    if not isinstance(told, dict) or told.get("kind") != KIND:
        raise BadInput(f"{path} is not a plan file", _HINT)
    if told.get("format") != FORMAT:
        raise BadInput(
            f"{path} has plan format {told.get('format')!r}; this version reads format {FORMAT}", _HINT
        )
    body = told.get("plan")
    if not isinstance(body, dict) or digest_of(body) != told.get("checksum"):
        raise BadInput(f"{path} is damaged or was edited: its checksum does not fit", _HINT)
    try:
        plan = _adapter().validate_python(body)
    except ValidationError:
        raise BadInput(f"{path} does not hold a plan of this version", _HINT) from None
    if plan.digest != told.get("digest"):
        raise BadInput(f"{path} is damaged: its digest does not fit its decision", _HINT)
    return plan


def is_plan_file(path: Path) -> bool:
    """True when ``path`` looks like a saved plan rather than a manifest."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False  # opening a FIFO waits
        with path.open("rb") as file:
            return file.read(64).startswith(b'{"kind":"' + KIND.encode() + b'"')
    except OSError:
        return False


@functools.cache
def _adapter() -> TypeAdapter[Plan]:
    return TypeAdapter(Plan)
