"""``init prometheus``: each alert fires when it should and not a moment before, as Prometheus itself judges."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from reconciler.cli.init import Platform
from reconciler.scaffolds import files
from tests import needs
from tests.flows.conftest import Run

RULES = "reconciler-alerts.yaml"
POOL = '{region="r", project_id="p", pool="finance", pool_id="i"}'
CALM: Mapping[str, str] = {
    "reconciler_drift_last_run_timestamp_seconds": "0+60x150",
    "reconciler_drift_last_exit_code": "0x150",
    'reconciler_target_last_seen_timestamp_seconds{region="r", project_id="p"}': "0+60x150",
    f"reconciler_pool_last_clean_timestamp_seconds{POOL}": "0+60x150",
    f"reconciler_pool_leftover_copies{POOL}": "0x150",
    "reconciler_open_alarms": "0x150",
    "reconciler_open_operations": "0x150",
    "reconciler_unresolved_operations": "0x150",
    'reconciler_notifications_total{result="dropped"}': "0x150",
    "reconciler_undelivered_webhooks": "0x150",
}
"""What is scraped every minute while all is well."""


@dataclass(frozen=True)
class Case:
    """What makes one alert fire."""

    alert: str
    quiet: int
    """The last minute in which it does not fire; it does in the next."""
    series: Mapping[str, str] = field(default_factory=dict)
    absent: str = ""


AGO = 600
"""The time of minute 10 of a test, which begins at the epoch: what lies before it has a negative time."""
CASES = (
    Case("ReconcilerMissing", 14, absent="reconciler_drift_last_run_timestamp_seconds"),
    Case("ReconcilerCheckOverdue", 10, {"reconciler_drift_last_run_timestamp_seconds": f"{AGO - 7200}x20"}),
    *(
        Case("ReconcilerCheckFailed", 29, {"reconciler_drift_last_exit_code": f"{code}x200"})
        for code in (1, 4, 9, 10)
    ),
    *(
        Case("ReconcilerCorrectionFailed", 14, {"reconciler_drift_last_exit_code": f"{code}x200"})
        for code in (6, 7, 8)
    ),
    Case(
        "ReconcilerTargetUnseen",
        10,
        {'reconciler_target_last_seen_timestamp_seconds{region="r", project_id="p"}': f"{AGO - 6 * 3600}x20"},
    ),
    Case("ReconcilerAlarm", 10, {"reconciler_open_alarms": "0x10 1x10"}),
    Case("ReconcilerOperationUnresolved", 14, {"reconciler_unresolved_operations": "1x100"}),
    Case("ReconcilerOperationOpenLong", 119, {"reconciler_open_operations": "1x200"}),
    Case(
        "ReconcilerPoolNotClean",
        10,
        {f"reconciler_pool_last_clean_timestamp_seconds{POOL}": f"{AGO - 7 * 86400}x20"},
    ),
    Case("ReconcilerCopiesLeft", 59, {f"reconciler_pool_leftover_copies{POOL}": "3x100"}),
    Case(
        "ReconcilerDiskDueSoon",
        10,
        {f"reconciler_pool_first_due_timestamp_seconds{POOL}": f"{AGO + 86400}x20"},
    ),
    Case("ReconcilerMessagesUndelivered", 14, {"reconciler_undelivered_webhooks": "1x100"}),
    Case("ReconcilerMessagesDropped", 10, {'reconciler_notifications_total{result="dropped"}': "0x10 1x60"}),
)


def rules() -> list[dict[str, Any]]:
    text = files("prometheus", "")[RULES]
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def promtool(*arguments: str, cwd: Path, stdin: str = "") -> str:
    """What it says, which is nothing bad."""
    program = Path(needs.program("prometheus")).with_name("promtool")
    done = subprocess.run(
        [program, *arguments], cwd=cwd, input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_each_alert_has_a_case_and_says_what_is_wrong_and_what_to_do() -> None:
    assert {each["alert"] for each in rules()} == {each.alert for each in CASES}
    for each in rules():
        assert each["labels"]["severity"] in {"info", "warning", "critical"}
        assert set(each["annotations"]) == {"summary", "description"}


def test_init_writes_the_rules_and_nothing_that_they_do_not_need(run: Run, tmp_path: Path) -> None:
    done = run("init", "prometheus", "--dir", "new")
    assert (done.code, done.out) == (0, "")
    assert [path.name for path in (tmp_path / "new").iterdir()] == [RULES]
    assert "rule_files" in done.err
    refused = run("init", "prometheus", "--dir", "other", "--package", "x==1")
    assert (refused.code, "install nothing" in refused.err) == (9, True)
    assert run("init", "prometheus", "--dir", "new").code == 9
    assert Platform.PROMETHEUS in run("init", "no-such-kind").err


def test_promtool_finds_nothing_wrong_with_the_rules(tmp_path: Path) -> None:
    (tmp_path / RULES).write_text(files("prometheus", "")[RULES])
    said = promtool("check", "rules", "--lint-fatal", RULES, cwd=tmp_path)
    assert f"SUCCESS: {len(rules())} rules found" in said


def test_each_alert_fires_alone_and_at_its_time(tmp_path: Path) -> None:
    def expected(minute: int, firing: str) -> dict[str, object]:
        samples = [{"labels": f'{{alertname="{firing}"}}', "value": 1}] if firing else []
        return {
            "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
            "eval_time": f"{minute}m",
            "exp_samples": samples,
        }

    def scraped(case: Case) -> list[dict[str, str]]:
        series = {**CALM, **case.series}
        return [{"series": name, "values": values} for name, values in series.items() if name != case.absent]

    tests = [
        {
            "interval": "1m",
            "input_series": scraped(each),
            "promql_expr_test": [expected(each.quiet, ""), expected(each.quiet + 1, each.alert)],
        }
        for each in CASES
    ]
    (tmp_path / RULES).write_text(files("prometheus", "")[RULES])
    (tmp_path / "tests.json").write_text(
        json.dumps({"rule_files": [RULES], "evaluation_interval": "1m", "tests": tests})
    )
    assert "SUCCESS" in promtool("test", "rules", "tests.json", cwd=tmp_path)
