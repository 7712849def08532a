"""The JSON of ``doctor``: what was checked, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import Field

from reconciler.render.doctor import Check, Result, exit_code
from reconciler.render.json.base import Document, Entry, Integer, Said, Text, json_text

FORMAT_VERSION: Final = "1.0"


class CheckEntry(Entry):
    """One thing that was looked at."""

    name: Text
    target: Said = Field(description="region/project_id; null for what belongs to no target.")
    result: Result
    message: Text
    advice: Said = Field(description="What to do; null where nothing has to be done.")


class DoctorDocument(Document):
    """What was checked, in this order; holds no secret and no name of a person."""

    exit_code: Integer = Field(description="0, or that of the first failure.")
    checks: list[CheckEntry]


def doctor_json(checks: Sequence[Check]) -> str:
    """Every check, as JSON text."""
    entries = [CheckEntry.model_validate(each) for each in checks]
    return json_text(
        DoctorDocument(format_version=FORMAT_VERSION, exit_code=exit_code(checks), checks=entries)
    )
