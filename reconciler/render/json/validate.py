"""The JSON of ``validate`` for manifests without a fault; faults are a failure."""

from __future__ import annotations

from typing import Final

from reconciler.model import Manifest
from reconciler.render.json.base import Count, Document, Text, json_text

FORMAT_VERSION: Final = "1.0"


class ValidateDocument(Document):
    """How much was read, and nothing in it is wrong."""

    pools: Count
    files: Count
    targets: Count
    notes: list[Text]


def validate_json(manifest: Manifest) -> str:
    """What was read, as JSON text."""
    return json_text(
        ValidateDocument(
            format_version=FORMAT_VERSION,
            pools=len(manifest.pools),
            files=len(manifest.sources),
            targets=len(manifest.targets),
            notes=list(manifest.notes),
        )
    )
