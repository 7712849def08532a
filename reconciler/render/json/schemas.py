"""The published JSON Schemas, derived from the models that print the documents."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from reconciler.render.json.apply import ApplyDocument
from reconciler.render.json.approval import ApprovalDocument
from reconciler.render.json.doctor import DoctorDocument
from reconciler.render.json.drift import AnyDriftDocument
from reconciler.render.json.error import ErrorDocument
from reconciler.render.json.explain import ExplainDocument
from reconciler.render.json.history import AnyHistoryDocument
from reconciler.render.json.marks import MarksDocument
from reconciler.render.json.plan import PlanDocument
from reconciler.render.json.resolve import ResolveDocument
from reconciler.render.json.validate import ValidateDocument

_DOCUMENTS: Final[dict[str, tuple[type[BaseModel], str]]] = {
    "plan": (PlanDocument, "A plan of reconciler"),
    "apply": (ApplyDocument, "A finished run of reconciler apply"),
    "drift": (AnyDriftDocument, "A round of reconciler drift"),
    "history": (AnyHistoryDocument, "The runs in the journal of reconciler"),
    "resolve": (ResolveDocument, "What reconciler resolve found out"),
    "explain": (ExplainDocument, "An explanation by reconciler"),
    "marks": (MarksDocument, "The surplus disks that wait for their grace"),
    "doctor": (DoctorDocument, "What reconciler doctor has checked"),
    "validate": (ValidateDocument, "What reconciler validate has read"),
    "error": (ErrorDocument, "A failure of any command of reconciler"),
    "approval": (ApprovalDocument, "An approval signed by reconciler approve"),
}


class _Published(GenerateJsonSchema):
    """Leaves out the titles that only repeat the keys."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - the signature is pydantic's
        return False


def document_schema(command: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of what a command prints with ``--format json``.

    It is open to keys that a later minor ``format_version`` adds; every key it names is there in every 1.x.
    """
    document, title = _DOCUMENTS[command]
    schema = document.model_json_schema(schema_generator=_Published)
    for part in (schema, *schema.get("$defs", {}).values()):
        part.pop("title", None)
        if part.get("additionalProperties") is False:
            del part["additionalProperties"]
    return {"$schema": GenerateJsonSchema.schema_dialect, "title": title, **schema}
