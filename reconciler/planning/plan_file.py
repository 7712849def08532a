"""Saved plans: one JSON document with a checksum of its own, for a file or the journal.

A saved plan is for this tool; people and scripts read it through ``reconciler show`` and ``history show``.
Reading and writing files is left to ``cli.plan_files``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from reconciler.errors import BadInput
from reconciler.planning.plan import Plan, digest_of

KIND = "reconciler-plan"
FORMAT = 2

HINT = "make a new plan with: reconciler plan PATH… --out FILE"


def document(plan: Plan) -> dict[str, Any]:
    """A plan as a JSON document that can be read back."""
    body = msgspec.to_builtins(plan)
    for pool in body["pools"]:
        del pool["drift"]  # follows from the changes
    return {"kind": KIND, "format": FORMAT, "digest": plan.digest, "checksum": digest_of(body), "plan": body}


def read(saved: Any, path: str) -> Plan:
    """The plan of a document; raises ``BadInput``, naming ``path``, when it is not exactly what was saved."""
    if not isinstance(saved, dict) or saved.get("kind") != KIND:
        raise BadInput(f"{path} is not a plan file", HINT)
    if saved.get("format") != FORMAT:
        raise BadInput(
            f"{path} has plan format {saved.get('format')!r}; this version reads format {FORMAT}", HINT
        )
    body = saved.get("plan")
    if not isinstance(body, dict) or digest_of(body) != saved.get("checksum"):
        raise BadInput(f"{path} is damaged or was edited: its checksum does not fit", HINT)
    try:
        plan = msgspec.convert(body, Plan)
    except msgspec.ValidationError:
        raise BadInput(f"{path} does not hold a plan of this version", HINT) from None
    if plan.digest != saved.get("digest"):
        raise BadInput(f"{path} is damaged: its digest does not fit its decision", HINT)
    return plan
