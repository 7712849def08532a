"""The JSON documents byte for byte: their keys, the order of their keys, and how text is escaped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.render.json.apply import apply_json
from reconciler.render.json.base import json_text
from reconciler.render.json.drift import drift_document, drift_json
from reconciler.render.json.explain import explain_json
from reconciler.render.json.history import history_json, run_json
from reconciler.render.json.plan import plan_document, plan_json
from reconciler.render.json.resolve import resolve_json
from reconciler.values import replace
from tests import builders, sample_plans
from tests.documents import applied, failed, measured, record
from tests.render.hostile import HOSTILE

GOLDEN = Path(__file__).parent / "golden" / "everything.json"
ENDS = ("\x7f", "\x00\x1f", "\U0001f600 é\x7f\ue000", '/ \\ " \b\f\n\r\t', "\ud83d", "\ud83d\ude00")


def test_the_json_of_a_plan_is_the_golden_one() -> None:
    shown = f"{plan_json(sample_plans.everything())}\n"
    if os.environ.get("RECONCILER_GOLDEN") == "rewrite":
        GOLDEN.write_text(shown, encoding="ascii")
    assert shown == GOLDEN.read_text(encoding="ascii")


@pytest.mark.parametrize("text", HOSTILE + ENDS, ids=range(len(HOSTILE + ENDS)))
def test_the_text_is_what_json_dumps_writes(text: str) -> None:
    for document in (plan_document(sample_plans.hostile(text)), drift_document(measured(text))):
        found = document.model_dump(mode="python")
        assert json_text(document) == json.dumps(found, indent=2, default=lambda moment: moment.isoformat())


def test_what_the_service_got_wrong_is_still_printed() -> None:
    """A schema that the service breaks must not keep a report from the one who reads it."""
    plan = sample_plans.everything()
    pool = next(pool for pool in plan.pools if pool.loss.disks)
    broken = replace(pool, loss=replace(pool.loss, gigabytes=-10))
    found = json.loads(plan_json(replace(plan, pools=(broken,))))
    assert found["pools"][0]["loss"]["gigabytes"] == -10


def test_a_finished_run_says_how_each_pool_ended() -> None:
    found = json.loads(apply_json(replace(applied(), results=applied().results[:1], in_flight=())))
    assert found | {"digest": None} == {
        "format_version": "1.1",
        "run": "run-1",
        "exit_code": 6,
        "digest": None,
        "sandbox": False,
        "targets": found["targets"],
        "remaining": 1,
        "results": [
            {
                "target": str(builders.TARGET),
                "pool": "finance",
                "ending": "alarm",
                "done": 0,
                "planned": 1,
                "message": "finance",
                "hint": "finance",
                "desktops": None,
            }
        ],
        "resolved": [
            {
                "operation": "operation-1",
                "pool": "finance",
                "resolved": True,
                "ending": "done",
                "message": "finance",
                "hint": None,
                "desktops": None,
            }
        ],
        "in_flight": [],
    }
    assert list(found) == [
        "format_version",
        "run",
        "exit_code",
        "digest",
        "sandbox",
        "targets",
        "remaining",
        "results",
        "resolved",
        "in_flight",
    ]


def test_a_round_that_failed_is_short() -> None:
    assert list(json.loads(drift_json(failed())).items()) == [
        ("format_version", "1.1"),
        ("run", None),
        ("started", "2026-03-01T12:30:00+00:00"),
        ("duration_seconds", 0.0),
        ("exit_code", 1),
        ("headline", "Drift could not be determined: finance"),
        (
            "error",
            {"kind": "service_error", "exit_code": 1, "message": "finance", "hint": None, "faults": []},
        ),
    ]


def test_a_measured_round_keeps_the_order_of_its_keys() -> None:
    found = json.loads(drift_json(measured()))
    assert list(found) == [
        "format_version",
        "run",
        "started",
        "duration_seconds",
        "exit_code",
        "headline",
        "error",
        "sandbox",
        "targets",
        "summary",
        "pools",
        "resource_changes",
        "leftovers",
        "findings",
        "failures",
        "not_corrected",
        "correction",
        "correction_error",
        "became_due",
        "unresolved_operations",
        "open_alarms",
    ]
    assert found["correction"] == json.loads(apply_json(applied()))
    planned = json.loads(plan_json(sample_plans.hostile("finance")))
    drifting = [
        each
        for each in planned["resource_changes"]
        if each["change"]["drift"] != ["no-op"] or each["differs"]
    ]
    assert found["resource_changes"] == drifting != []


def test_lists_stand_under_a_name_beside_their_version() -> None:
    plan = sample_plans.tie()
    assert list(json.loads(history_json([record().run]))) == ["format_version", "runs"]
    assert json.loads(history_json([])) == {"format_version": "1.4", "runs": []}
    assert json.loads(resolve_json([])) == {"format_version": "1.1", "operations": []}
    assert list(json.loads(explain_json(plan, plan.pools))) == ["format_version", "pools"]


def test_a_run_is_shown_whole_and_its_operations_name_themselves_first() -> None:
    found = json.loads(run_json(record()))
    [listed] = json.loads(history_json([record().run]))["runs"]
    parts = ["plan", "operations", "damaged", "announcements", "events", "ways_back"]
    assert list(found) == ["format_version", *listed, *parts]
    assert found["plan"] == json.loads(plan_json(sample_plans.everything()))
    assert [each["kind"] for each in found["events"]] == ["operation.closed"]
    [operation] = found["operations"]
    ids = [key for key in _keys(operation) if key == "id" or key.endswith("_id")]
    assert ids[0] == "operation_id"
    assert operation["intent"]["operation_id"] == "operation-1"


def test_no_command_builds_the_models_before_it_prints_json() -> None:
    """They take longer than the rest of the start."""
    code = (
        "import sys; from importlib import import_module; from reconciler.cli.app import COMMANDS\n"
        "[import_module(f'reconciler.cli.{each}'.replace('.import', '.import_')) for each in COMMANDS]\n"
        "print([each for each in sys.modules if 'render.json' in each])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def _keys(value: object) -> list[str]:
    if isinstance(value, dict):
        return [key for name, each in value.items() for key in (name, *_keys(each))]
    return [key for each in value for key in _keys(each)] if isinstance(value, list) else []
