"""The JSON that commands print, held to its published schemas, and one filled document of each kind."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator, ValidationError, validators

from reconciler.apply.results import (
    ApplyReport,
    DriftReport,
    DriftRound,
    PoolResult,
    Resolution,
    Status,
)
from reconciler.apply.results import Result as Ended
from reconciler.errors import BadInput, ExitCode, Fault, ServiceError
from reconciler.journal.records import (
    PLAN_APPROVED,
    Announcement,
    Approved,
    ClosedBy,
    DamagedOperation,
    Event,
    Intent,
    Mark,
    MarkKey,
    Operation,
    Origin,
    PoolKey,
    Run,
    RunRecord,
    SentDisk,
    Way,
)
from reconciler.journal.states import Outcome, State, Step
from reconciler.model import LostCopy, Manifest, Notice
from reconciler.planning.approvals import SignedApproval
from reconciler.planning.drift import measure
from reconciler.planning.plan_file import document
from reconciler.render.doctor import Check, Result
from reconciler.render.json.apply import apply_json
from reconciler.render.json.approval import approval_json
from reconciler.render.json.doctor import doctor_json
from reconciler.render.json.drift import drift_json
from reconciler.render.json.error import error_json
from reconciler.render.json.explain import explain_json
from reconciler.render.json.history import history_json, run_json
from reconciler.render.json.marks import marks_json
from reconciler.render.json.plan import plan_json
from reconciler.render.json.resolve import resolve_json
from reconciler.render.json.schemas import document_schema
from reconciler.render.json.validate import validate_json
from reconciler.values import replace
from tests import builders, sample_plans

DOCUMENTS = (
    "plan",
    "apply",
    "drift",
    "history",
    "resolve",
    "explain",
    "doctor",
    "validate",
    "error",
    "approval",
    "marks",
)
"""The commands whose JSON has a published schema; ``schema --<command>`` prints it."""
PRINTED_AS = {name: name for name in DOCUMENTS} | {"show": "plan"}
NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


published_schema = cache(document_schema)
"""The schema that is published for a command, made once; nobody changes it."""


@cache
def strict(command: str) -> Any:
    """The schema as a test wants it: a key that it does not name is an error."""
    return validator(_closed(published_schema(command)))


def validator(schema: Any, **keywords: Any) -> Any:
    """What holds values to a schema that nobody changes; a text, number or constant found valid is so for ever."""
    valid: set[tuple[int, type[object], object]] = set()

    def properties(found: Any, parts: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        for key, part in parts.items() if isinstance(instance, dict) else ():
            if key not in instance:
                continue
            value = instance[key]
            if isinstance(value, dict | list):
                yield from found.descend(value, part, path=key, schema_path=key)
            elif (id(part), type(value), value) not in valid:
                errors = list(found.descend(value, part, path=key, schema_path=key))
                yield from errors
                if not errors:
                    valid.add((id(part), type(value), value))

    kind = validators.extend(Draft202012Validator, {"properties": properties} | keywords)  # type: ignore[no-untyped-call]
    return kind(schema)


def check_printed(arguments: Sequence[str], out: str) -> None:
    """Hold what a command line printed to its schema, if it printed a document."""
    if arguments and arguments[0] == "approve" and out.startswith("{"):
        strict("approval").validate(json.loads(out))
    if "json" in arguments and out.startswith("{") and json.loads(out).keys() == {"format_version", "error"}:
        strict("error").validate(json.loads(out))
    elif "json" in arguments and arguments[0] in PRINTED_AS and out:
        strict(PRINTED_AS[arguments[0]]).validate(json.loads(out))


def operation(text: str = "finance") -> Operation:
    """An operation with an answer, closed by ``resolve``."""
    intent = Intent(
        operation_id="operation-1",
        run_id="run-1",
        pool=PoolKey(str(builders.TARGET), "workspace.example.com", "pool-1"),
        pool_name=text,
        step=Step.REMOVE,
        handle_type="FOR_EXPAND_AND_ALL",
        disks=(SentDisk("disk-1", text, 100),),
        keep=("disk-2",),
        baseline_jobs=("job-0",),
        generation=3,
        signed_at=NOW,
        not_after=NOW + timedelta(minutes=30),
        plan_digest="0" * 64,
        copies=(LostCopy("disk-1", "desktop-1", text, "volume-1", 100, (text,)),),
    )
    answer = Outcome(State.ACCEPTED, "job-1", "request-1", 200, "", text)
    return Operation(intent, State.DONE, answer, "run-1", NOW, NOW, NOW, text, ClosedBy.RESOLVE)


def record(text: str = "finance") -> RunRecord:
    """A run with its plan, one operation and one event."""
    approved = Event(1, "run-1", None, NOW, PLAN_APPROVED, document(sample_plans.everything()))
    closed = Event(2, "run-1", "operation-1", NOW, "operation.closed", {"verdict": text})
    run = Run("run-1", "apply", "1.2.3", (str(builders.TARGET),), NOW, NOW, "0" * 64, 0, {"done": 1})
    run = replace(run, approved=Approved(Way.SIGNED, (text,)), policy="1" * 64)
    run = replace(run, origin=Origin(text, "c0ffee", "5", "https://ci.example/7"))
    broken = DamagedOperation("operation-2", operation().intent.pool, text)
    return RunRecord(run, (operation(text),), (approved, closed), (broken,), (announcement(text),))


def applied(text: str = "finance") -> ApplyReport:
    """A run with every way in which a pool can end, something resolved and something in flight."""
    results = [PoolResult(builders.TARGET, text, status, text, text, 0, 1) for status in Status]
    resolution = Resolution(operation(text), True, Ended(Status.DONE, text))
    plan = sample_plans.resize()
    return ApplyReport(
        "run-1", plan, tuple(results), (resolution,), (operation(text),), 1, ExitCode.JOB_FAILED
    )


def measured(text: str = "finance") -> DriftRound:
    """A round that found drift, corrected some of it, and was refused the rest."""
    plan = sample_plans.hostile(text)
    report = DriftReport(
        "run-1", plan, measure(plan), plan.all_findings, applied(text), BadInput(text, text), 2
    )
    return DriftRound(NOW, 1.25, ExitCode.CHANGES, report)


def mark(text: str = "finance") -> Mark:
    """A mark that somebody has extended."""
    key = MarkKey(operation().intent.pool, "disk-1")
    return Mark(key, text, NOW - timedelta(days=3), timedelta(days=7), NOW + timedelta(days=9), text)


def announcement(text: str = "finance") -> Announcement:
    """A message about that mark that was rejected."""
    about = mark(text)
    answer = Outcome(State.REJECTED, "", text, 403, text, text)
    sent = (Notice.REMINDER, NOW, text, "run-1", NOW)
    return Announcement("message-1", about.key, text, about.first_seen, *sent, answer)


def failed(text: str = "finance") -> DriftRound:
    """A round that measured nothing."""
    return DriftRound(NOW, 0.0, ExitCode.ERROR, error=ServiceError(text))


def printed(text: str = "finance") -> list[tuple[str, str]]:
    """Documents of every kind in which everything is called the same: the command and its text."""
    plan, resolution = (
        sample_plans.hostile(text),
        Resolution(operation(text), False, Ended(Status.HELD, text, text)),
    )
    return [
        ("plan", plan_json(plan)),
        ("explain", explain_json(plan, plan.pools)),
        ("apply", apply_json(applied(text))),
        ("resolve", resolve_json([resolution])),
        ("drift", drift_json(measured(text))),
        ("drift", drift_json(failed(text))),
        ("history", history_json([record(text).run])),
        ("history", run_json(record(text))),
        ("marks", marks_json([mark(text)], NOW, [announcement(text)])),
        ("doctor", doctor_json([Check(text, Result.FAILURE, text, text, text, 9)])),
        ("validate", validate_json(Manifest((), notes=(text,)))),
        ("error", error_json(BadInput(text, text, (Fault(text, 1, 2, text),)), 9)),
        ("approval", approval_json(SignedApproval("0" * 64, NOW, NOW, text))),
    ]


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if closed.get("type") == "object" and "properties" in closed:
        closed["additionalProperties"] = False
    return closed
