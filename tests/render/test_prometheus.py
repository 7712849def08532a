"""The metrics of a round: what they mean, what promtool thinks of them, and which of them alert rules ask for."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from reconciler.apply.results import DriftReport, DriftRound, Sight, live_pool
from reconciler.errors import ExitCode
from reconciler.planning.drift import measure
from reconciler.planning.plan import Plan
from reconciler.render.drift_report import metrics
from reconciler.render.message import Deliveries
from tests import sample_plans
from tests.scaffolds.test_prometheus import promtool, rules

STARTED = sample_plans.MADE


def round_of(plan: Plan, opened: int = 0, unresolved: int = 0) -> DriftRound:
    report = DriftReport(
        "run",
        plan,
        measure(plan),
        unresolved=unresolved,
        open_operations=opened,
        exit_code=ExitCode.CHANGES,
    )
    sights = tuple(Sight(each.target, STARTED) for each in plan.services)
    return DriftRound(STARTED, 2.0, ExitCode.CHANGES, report, sights=sights)


def samples(text: str) -> dict[tuple[str, str], float]:
    """Every sample by its name and its pool, or what became of a message."""
    return {
        (each.name, each.labels.get("pool", each.labels.get("result", ""))): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


def full() -> str:
    """Metrics of every name."""
    return metrics(round_of(sample_plans.waiting(), 2, 1), Deliveries(3, 2, 1, {"0"}))


def test_promtool_has_nothing_to_say_about_any_metric(tmp_path: Path) -> None:
    assert promtool("check", "metrics", cwd=tmp_path, stdin=full()) == ""


def test_each_alert_asks_for_metrics_that_there_are() -> None:
    names = {name for name, _ in samples(full())}
    assert len(names) == len(re.findall("^# TYPE", full(), re.M)) == 17
    for rule in rules():
        asked = set(re.findall(r"reconciler_\w+", rule["expr"]))
        assert asked, rule
        assert asked <= names, rule["alert"]


def test_sizes_are_bytes_and_messages_and_operations_are_counted() -> None:
    plan = sample_plans.two_removals()
    [found] = measure(plan)
    told = samples(metrics(round_of(plan, 2, 1), Deliveries(3, 2, 1, {"0"})))
    assert told["reconciler_pool_surplus_bytes", found.pool.label] == found.surplus_gb * 10**9 > 0
    assert (told["reconciler_open_operations", ""], told["reconciler_unresolved_operations", ""]) == (2, 1)
    by_result = {
        each: told["reconciler_notifications_total", each] for each in ("delivered", "failed", "dropped")
    }
    assert by_result == {"delivered": 3, "failed": 2, "dropped": 1}
    assert told["reconciler_undelivered_webhooks", ""] == 1


def test_a_calm_pool_is_clean_now_and_another_since_its_drift_was_first_seen() -> None:
    [calm, *_] = (each for each in measure(sample_plans.no_changes()) if not each.drifts)
    [drifting] = measure(sample_plans.two_removals())
    began = STARTED - timedelta(days=3)
    key = live_pool(drifting.pool)
    assert key
    report = DriftReport("run", sample_plans.two_removals(), (calm, drifting))
    known = DriftRound(STARTED, 2.0, ExitCode.CHANGES, report, drifting_since=((key, began),))
    for found, since in ((known, began), (DriftRound(STARTED, 2.0, ExitCode.CHANGES, report), STARTED)):
        told = samples(metrics(found))
        name = "reconciler_pool_last_clean_timestamp_seconds"
        assert told[name, drifting.pool.label] == since.timestamp()
        assert told[name, calm.pool.label] == STARTED.timestamp()
