"""What all JSON documents share: the types of their values, and how they become text.

What stands in a document is left to the file of that document, the published schemas to ``schemas``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, TypeAlias, TypeVar

from msgspec import structs
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticSerializationError, core_schema

from reconciler.values import Struct

_NOT_PRINTABLE_ASCII = re.compile(r"[^\x00-\x7e]+")


class _Leaf(Struct, frozen=True):
    """A value that the schema describes and nothing checks when it is printed.

    A report of what was done must come out even if the service sent a negative size, or a manifest's path
    holds bytes that are no text (a lone surrogate, which pydantic would refuse). mypy checks the types.
    """

    type: str
    pattern: str | None = None
    format: str | None = None
    minimum: int | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Take any value as it is; print a time with its offset spelled out, which pydantic shortens to Z."""
        if source is datetime:
            return core_schema.any_schema(
                serialization=core_schema.plain_serializer_function_ser_schema(datetime.isoformat)
            )
        return core_schema.any_schema()

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe it."""
        return {name: value for name, value in structs.asdict(self).items() if value is not None}


Text: TypeAlias = Annotated[str, _Leaf("string")]
Said: TypeAlias = Annotated[Text | None, BeforeValidator(lambda said: str(said) if said else None)]
"""What values keep as an empty text is null in a document."""
Moment: TypeAlias = Annotated[datetime, _Leaf("string", format="date-time")]
"""Printed as ISO 8601 with an offset."""
Digest: TypeAlias = Annotated[str, _Leaf("string", pattern="^[0-9a-f]{64}$")]
"""Hexadecimal sha256."""
Version: TypeAlias = Annotated[str, _Leaf("string", pattern=r"^1\.\d+$")]
Flag: TypeAlias = Annotated[bool, _Leaf("boolean")]
Count: TypeAlias = Annotated[int, _Leaf("integer", minimum=0)]
Integer: TypeAlias = Annotated[int, _Leaf("integer")]
Seconds: TypeAlias = Annotated[float, _Leaf("number")]
Open: TypeAlias = Annotated[Mapping[str, Any], _Leaf("object")]
"""An object with keys of its own, as it was kept."""


class Entry(BaseModel):
    """What all parts of a document share: no key that the model does not name."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, from_attributes=True)


E = TypeVar("E", bound=Entry)


class Document(Entry):
    """What every document begins with.

    Each has a version of its own, by Terraform's rule; its file says which.
    """

    format_version: Version = Field(
        description="Additions raise the minor number; what a reader could stumble over raises the major one."
    )


def entry_of(kind: type[E], found: object, /, **other: Any) -> E:
    """The entry ``kind``: what ``found`` has under the same names, but for the fields in ``other``."""
    return kind(**{name: getattr(found, name) for name in kind.model_fields if name not in other}, **other)


def json_text(document: BaseModel, indent: int | None = 2) -> str:
    """The document as JSON in plain ASCII: what json.dumps with that indent writes, in a third of the time.

    Without an indent it is one line.
    """
    try:
        text = document.model_dump_json(indent=indent)
    except PydanticSerializationError:  # a lone surrogate, which is no Unicode
        return json.dumps(document.model_dump(), indent=indent)
    if text.isascii() and "\x7f" not in text:
        return text
    return _NOT_PRINTABLE_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)
