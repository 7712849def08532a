"""Owns the JSON Schema (2020-12) of the plan's JSON, so that policies and scripts can rely on it.

The JSON itself is left to ``json``. The schema is open to unknown keys, because a higher minor
``format_version`` may add some; every key it names is there in every version ``1.x`` from 1.1 on.
"""

from __future__ import annotations

from typing import Any

from reconciler.model import ApplyTo, Limits
from reconciler.planning.change import Rule
from reconciler.planning.finding import Severity

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_COUNT_OR_NULL: Schema = {"type": ["integer", "null"], "minimum": 0}
_FLAG: Schema = {"type": "boolean"}
_DISK: Schema = {"$ref": "#/$defs/disk"}
_DISK_OR_NULL: Schema = {"anyOf": [_DISK, {"type": "null"}]}
_COPY: Schema = {"volume_id": _TEXT_OR_NULL, "type": _TEXT, "size": {"type": "integer"}}
_TARGET: Schema = {"$ref": "#/$defs/target"}


def plan_schema() -> dict[str, Any]:
    """The schema of ``plan --format json``, format version 1."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A plan of reconciler",
        "description": "What would change in the declared pools, and what that destroys. Sizes are GB.",
        **_object(
            format_version={"type": "string", "pattern": r"^1\.\d+$"},
            tool_version=_TEXT,
            id=_TEXT,
            digest={"type": "string", "pattern": "^[0-9a-f]{64}$"},
            created={"type": "string", "format": "date-time"},
            expires={"type": "string", "format": "date-time"},
            sandbox=_told("True when any target is the simulated service.", _FLAG),
            target=_told(
                "The target when there is exactly one, else null.", {"anyOf": [_TARGET, {"type": "null"}]}
            ),
            targets=_list(_TARGET),
            summary=_told("Disks to carry out.", _object(add=_COUNT, change=_COUNT, destroy=_COUNT)),
            blocked_summary=_told(
                "What is held back because something blocks its pool; not part of the summary.",
                _object(
                    pools=_told("Blocked pools.", _COUNT),
                    add=_COUNT,
                    change=_COUNT,
                    destroy=_COUNT,
                    undecided=_told("Disks that must go while nobody has chosen which.", _COUNT),
                ),
            ),
            destroyed=_told(
                "What carrying out the plan destroys.",
                _object(
                    disks=_COUNT,
                    pools=_COUNT,
                    copies=_COUNT,
                    desktops=_COUNT,
                    gigabytes=_COUNT,
                    users=_COUNT,
                    live_sessions=_COUNT,
                    upper_bound=_told("True when the counts are the worst case.", _FLAG),
                    sentence=_told("The loss in one sentence; empty when there is none.", _TEXT),
                ),
            ),
            blocked=_told("True when anything in the plan is blocked.", _FLAG),
            findings=_list({"$ref": "#/$defs/finding"}),
            limits=_object(**{name: {"$ref": "#/$defs/limit"} for name, _ in Limits().items()}),
            pools=_told(
                "Declared pools with a difference, a tie or a finding.", _list({"$ref": "#/$defs/pool"})
            ),
            resource_changes=_told(
                "One entry per disk of those pools, keeps included.", _list({"$ref": "#/$defs/change"})
            ),
            desktops=_told(
                "Pools with desktops unlike themselves, only shown; null unless asked for with --desktops.",
                {"anyOf": [_list({"$ref": "#/$defs/inconsistent"}), {"type": "null"}]},
            ),
            failures=_told(
                "Targets that could not be planned.", _list(_object(target=_TEXT, message=_TEXT, hint=_TEXT))
            ),
        ),
        "$defs": _definitions(),
    }


def _definitions() -> Schema:
    return {
        "target": _object(
            region=_TEXT,
            project_id=_TEXT,
            service=_told("Host of the endpoint, or sandbox:<world>.", _TEXT),
            sandbox=_FLAG,
        ),
        "disk": _object(id=_TEXT_OR_NULL, type=_TEXT, size=_told("GB.", {"type": "integer"})),
        "finding": _object(
            rule=_TEXT,
            severity={"enum": [each.value for each in Severity]},
            pool=_told("Null for a finding about the whole run.", _TEXT_OR_NULL),
            message=_TEXT,
            measured=_COUNT_OR_NULL,
            limit=_COUNT_OR_NULL,
            source=_told("default, a flag, or file:line:column.", _TEXT_OR_NULL),
            allow=_told("What would allow it; null when nothing does.", _TEXT_OR_NULL),
        ),
        "limit": _object(value=_told("Null: no limit.", _COUNT_OR_NULL), source=_TEXT),
        "pool": _pool(),
        "change": _change(),
        "copy": _object(disk_id=_told("Null without a link to a disk.", _TEXT_OR_NULL), **_COPY),
        "resized": _object(
            disk_id=_TEXT_OR_NULL, pool_size=_told("GB of the pool's disk.", {"type": "integer"}), **_COPY
        ),
        "inconsistent": _inconsistent(),
    }


def _inconsistent() -> Schema:
    return _object(
        pool_id=_TEXT_OR_NULL,
        pool_name=_TEXT,
        target=_TEXT,
        differ_in_number=_told("Desktops with another number of disks than the pool.", _COUNT),
        differ_in_size=_told("Desktops with another sum of GB than the pool.", _COUNT),
        desktops=_list(
            _object(
                id=_TEXT,
                name=_TEXT,
                users=_list(_TEXT),
                left_behind=_told(
                    "Copies of disks that the pool does not have.", _list({"$ref": "#/$defs/copy"})
                ),
                missing=_told("Disks of the pool without a copy here.", _list(_DISK)),
                resized=_told(
                    "Copies whose size is not that of the pool's disk.", _list({"$ref": "#/$defs/resized"})
                ),
            )
        ),
    )


def _pool() -> Schema:
    return _object(
        name=_TEXT,
        id=_told("Null when the declared pool was not found.", _TEXT_OR_NULL),
        target=_told("region/project_id.", _TEXT),
        declared_at=_told("file:line:column.", _TEXT),
        apply_to={"enum": [*(each.value for each in ApplyTo), None]},
        blocked=_FLAG,
        loss=_object(
            disks=_COUNT,
            copies=_COUNT,
            desktops=_COUNT,
            gigabytes=_COUNT,
            users=_told("Names of the people bound to those desktops.", _list(_TEXT)),
            live_sessions=_COUNT,
            upper_bound=_FLAG,
        ),
        ties=_list(
            _object(
                remove=_told("How many of the candidates must go.", _COUNT), candidates=_list(_candidate())
            )
        ),
    )


def _candidate() -> Schema:
    unread = {"anyOf": [_list(_TEXT), {"type": "null"}]}
    return _object(
        id=_TEXT_OR_NULL,
        type=_TEXT,
        size=_told("GB.", {"type": "integer"}),
        copies=_told("Null when the desktops were not read.", _COUNT_OR_NULL),
        desktops=_told("Desktops that have a copy.", _COUNT_OR_NULL),
        users=_told("Names of the people bound to those desktops.", unread),
        created=_told("When its oldest copy was made; null when that is not known.", _TEXT_OR_NULL),
    )


def _change() -> Schema:
    actions: Schema = {
        "type": "array",
        "items": {"enum": ["no-op", "create", "update", "delete"]},
        "minItems": 1,
    }
    return _object(
        address=_told("pool name/disk id.", _TEXT),
        type={"const": "desktop_pool_disk"},
        pool_id=_TEXT_OR_NULL,
        pool_name=_TEXT,
        carried_out=_told("False: shown as drift only.", _FLAG),
        change=_object(
            actions=_told("What apply does, in Terraform's words.", actions),
            drift=_told("What would make the disk as declared, carried out or not.", actions),
            before=_DISK_OR_NULL,
            after=_DISK_OR_NULL,
        ),
        action_reason={"enum": [each.value for each in Rule]},
        differs=_told("Declared attributes that differ; never a reason to remove.", _list(_TEXT)),
        declared_at=_TEXT_OR_NULL,
        copies=_told("Copies destroyed; null when the disk is not destroyed.", _COUNT_OR_NULL),
        gigabytes=_told("GB over those copies; null when the disk is not destroyed.", _COUNT_OR_NULL),
    )


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _told(description: str, schema: Schema) -> Schema:
    return {"description": description, **schema}
