"""The published documents as JSON Schemas that a validator can be given."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import jsonschema

PUBLISHED = Path(__file__).parent / "published"
WRITES = ("AddDesktopPoolVolumes", "DeleteDesktopPoolVolumes", "ExpandDesktopPoolVolumes")
READS = ("ListDesktopPools", "ListItaSubJobs", "ListPoolDesktopsDetail", "ShowJob")
# One bound of the desktops' document (2024-11-29) is older than the service: "data_volumes" of a desktop had 1 to
# 10 entries then, and has 0 to 10 in the SDK of today, which a pool without data disks needs.
LATER_BOUNDS = {("ListPoolDesktopsDetail", "data_volumes"): {"minItems": 0}}


@dataclass(frozen=True)
class Operation:
    """One operation as the vendor publishes it."""

    name: str
    method: str
    path: re.Pattern[str]
    query: Mapping[str, Any]
    """Schemas by name."""
    bodies: Mapping[str, Any]
    """Schemas by the date of the revision; of a read none."""
    answers: Mapping[str, Any]
    """Schemas by status, or ``default``."""
    answer_examples: tuple[Any, ...]

    def takes(self, method: str, path: str) -> bool:
        return self.method == method and bool(self.path.fullmatch(path))


@cache
def operation(name: str) -> Operation:
    """One operation by the vendor's name."""
    document = json.loads((PUBLISHED / f"{name}.json").read_text())
    revisions = [document] if document["body"] else []
    if (dated := PUBLISHED / f"{name}.revisions.json").exists():
        revisions += json.loads(dated.read_text())
    answers = document["responses"]
    return Operation(
        name=name,
        method=document["method"],
        path=re.compile(re.sub(r"\{\w+\}", "[^/]+", document["path"])),
        query={key: strict(schema, name) for key, schema in document["query"].items()},
        bodies={each["revision"]: strict(each["body"], name) for each in revisions},
        answers={status: strict(each["schema"], name) for status, each in answers.items()},
        answer_examples=tuple(each["example"] for each in answers.values() if each["example"]),
    )


def operations() -> tuple[Operation, ...]:
    """Every operation there is a document of."""
    return tuple(map(operation, (*READS, *WRITES)))


def strict(schema: Any, name: str) -> Any:
    """The same schema with what its author meant: ``properties`` are those of an object, int32 has 32 bits."""
    if isinstance(schema, list):
        return [strict(each, name) for each in schema]
    if not isinstance(schema, dict):
        return schema
    # Of a parameter: whether it has to be there. Of an object: the names that have to be, which stay.
    made = {key: strict(each, name) for key, each in schema.items() if (key, each) != ("required", False)}
    for (operation_name, field), bounds in LATER_BOUNDS.items():
        if operation_name == name and isinstance(made.get(field), dict):
            made[field] |= bounds
    if isinstance(made.get("properties"), dict):
        made.setdefault("type", "object")
    if made.get("format") == "int32":
        made |= {"minimum": max(made.get("minimum", 0), 0), "maximum": made.get("maximum", 2**31 - 1)}
    return made


def faults(document: Any, schema: Any) -> list[str]:
    """What in a document breaks the schema, one line for each fault."""
    found = jsonschema.Draft202012Validator(schema).iter_errors(document)
    return sorted(f"{each.json_path}: {each.message}" for each in found)


def query_faults(query: str, parameters: Mapping[str, Any]) -> list[str]:
    """What in a query string breaks the contract; a name that it does not have is a fault too."""
    found = []
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in parameters:
            found.append(f"{name}: no such parameter")
        else:
            found += [
                f"{name}: {fault}" for fault in faults(_typed(text, parameters[name]), parameters[name])
            ]
    return found


def _typed(text: str, schema: Any) -> Any:
    match schema["type"]:
        case "integer":
            return int(text) if re.fullmatch("-?[0-9]+", text) else text
        case "boolean":
            return {"true": True, "false": False}.get(text, text)
        case _:
            return text
