"""``drift``: tells how far the pools are from their manifests, and corrects only what a policy allows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reconciler.journal.store import open_journal
from reconciler.sandbox import seed
from reconciler.sandbox.world import World
from tests.flows.conftest import Run, manifest
from tests.flows.serving import Served, listening, serving
from tests.flows.skipping import TIME

ONE_SSD = "{name: p, apply_to: all, disks: [{type: SSD, size: 100}]}"
WHOLE_DAY = "{days: [mon, tue, wed, thu, fri, sat, sun], start: '00:00', end: '%s', timezone: %s}"
# Two windows that meet, so that no minute of a run is outside both.
ALWAYS = f"{WHOLE_DAY % ('12:00', 'UTC')}, {WHOLE_DAY.replace('00:00', '12:00') % ('00:00', 'UTC')}"


def policy(windows: str = ALWAYS, correct: str = "[remove]", disks: int = 5) -> str:
    return f"drift: {{correct: {correct}, disks_per_day: {disks}, windows: [{windows}]}}"


def two_pools(name: str = "p") -> World:
    pools = [seed.pool(each, [("SAS", 50), ("SSD", 100)], 3, 2) for each in (name, "q")]
    return seed.world("drift", pools)


def numbers(path: Path) -> dict[tuple[str, str], float]:
    """Every sample by its name and its pool."""
    families = text_string_to_metric_families(path.read_text(encoding="utf-8"))
    return {(each.name, each.labels.get("pool", "")): each.value for one in families for each in one.samples}


def posts(served: Served) -> int:
    return len(served.posts())


def test_drift_is_told_on_the_screen_as_json_and_in_numbers_and_nothing_is_sent(
    run: Run, tmp_path: Path
) -> None:
    with serving(two_pools()) as served:
        path, file = manifest(tmp_path, [ONE_SSD], policy()), tmp_path / "drift.prom"
        text = run("drift", str(path), "--prometheus", str(file), env=served.env)
        told = run("drift", str(path), "--format", "json", env=served.env)

        assert (text.code, told.code, posts(served)) == (2, 2, 0)
        assert "p: 1 surplus disk (150 GB over all desktops)" in text.out
        assert "Drift in 1 of 1 pool: 1 surplus disk (150 GB over all desktops)." in text.out
        found = json.loads(told.out)
        [pool] = found["pools"]
        assert (pool["pool"], pool["surplus_disks"], pool["missing_disks"], pool["surplus_gigabytes"]) == (
            "p",
            1,
            0,
            150,
        )
        assert (found["exit_code"], found["summary"]["drifting"], found["correction"]) == (2, 1, None)
        kept = numbers(file)
        assert kept["reconciler_pool_surplus_disks", "p"] == 1
        assert kept["reconciler_pool_missing_disks", "p"] == 0
        assert kept["reconciler_pool_surplus_bytes", "p"] == 150e9
        assert kept["reconciler_drift_last_exit_code", ""] == 2
        assert kept["reconciler_unresolved_operations", ""] == 0
        assert kept["reconciler_drift_duration_seconds", ""] > 0
        age = datetime.now(UTC).timestamp() - kept["reconciler_drift_last_run_timestamp_seconds", ""]
        assert 0 <= age < 3600
        assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".drift")] == []
        assert "drift" in run("history", env=served.env).out


def test_no_drift_ends_with_zero(run: Run, tmp_path: Path) -> None:
    with serving(two_pools()) as served:
        path = manifest(tmp_path, ["{name: p, disks: [{type: SSD, size: 100}, {type: SAS, size: 50}]}"])
        ran = run("drift", str(path), env=served.env)
        assert ran.code == 0
        assert "No drift: 1 pool checked, all as declared." in ran.out


def test_a_pool_that_cannot_be_decided_is_no_drift_but_refused(run: Run, tmp_path: Path) -> None:
    with serving(two_pools()) as served:
        path = manifest(tmp_path, ["{name: nobody, disks: [{type: SSD, size: 100}]}"])
        ran = run("drift", str(path), env=served.env)
        assert ran.code == 3
        assert "pool-not-found" in ran.out
        assert "No drift in 0 pools, but not everything could be decided." in ran.out


def test_hostile_names_stay_in_their_label(run: Run, tmp_path: Path) -> None:
    name = 'a"} 1\\ \u202e'
    with serving(two_pools(name)) as served:
        pool_id, file = served.pool(name)["id"], tmp_path / "drift.prom"
        path = manifest(tmp_path, [f"{{id: {pool_id}, disks: [{{type: SSD, size: 100}}]}}"])
        assert run("drift", str(path), "--prometheus", str(file), env=served.env).code == 2
        assert numbers(file)["reconciler_pool_surplus_disks", 'a"} 1\\ \\u202e'] == 1


def test_numbers_of_a_failed_look_tell_the_failure_and_no_old_drift(run: Run, tmp_path: Path) -> None:
    with serving(two_pools()) as served:
        path, file = manifest(tmp_path, [ONE_SSD]), tmp_path / "drift.prom"
        run("drift", str(path), "--prometheus", str(file), env=served.env)
        wrong = served.env | {"HUAWEICLOUD_SDK_SK": "wrong"}
        ran = run("drift", str(path), "--prometheus", str(file), env=wrong)
        kept = numbers(file)
        assert (ran.code, kept["reconciler_drift_last_exit_code", ""]) == (1, 1)
        assert ("reconciler_pool_surplus_disks", "p") not in kept


def test_a_place_for_numbers_that_cannot_be_written_is_told_before_anything_is_read(
    run: Run, tmp_path: Path
) -> None:
    path = manifest(tmp_path, [ONE_SSD])
    ran = run("drift", str(path), "--sandbox", "--prometheus", str(tmp_path / "no" / "drift.prom"))
    assert ran.code == 9
    assert "cannot be written" in ran.err
    assert run("drift", str(path), "--sandbox", "--prometheus", str(tmp_path)).code == 9


def test_a_correction_does_what_the_policy_allows_and_proves_it(run: Run, tmp_path: Path) -> None:
    with serving(two_pools()) as served:
        path, file = manifest(tmp_path, [ONE_SSD], policy()), tmp_path / "drift.prom"
        ran = run("drift", str(path), "--correct", "--prometheus", str(file), env=served.env)
        assert (ran.code, posts(served)) == (0, 1)
        assert "Apply complete! 1 change proven" in ran.out
        assert [disk["type"] for disk in served.pool("p")["disks"]] == ["SSD"]
        assert numbers(file)["reconciler_pool_surplus_disks", "p"] == 0
        assert run("drift", str(path), "--correct", env=served.env).code == 0
        assert posts(served) == 1


def test_without_a_policy_nothing_is_corrected(run: Run, tmp_path: Path) -> None:
    with serving(two_pools()) as served:
        ran = run("drift", str(manifest(tmp_path, [ONE_SSD])), "--correct", env=served.env)
        assert (ran.code, posts(served)) == (2, 0)
        assert "! drift-policy: no drift policy lets anything" in ran.out


def test_windows_that_are_shut_or_never_open_or_of_nowhere_refuse(run: Run, tmp_path: Path) -> None:
    with serving(two_pools()) as served:
        later = datetime.now(UTC) + timedelta(hours=2)
        shut = (
            f"{{days: [mon, tue, wed, thu, fri, sat, sun], start: '{later:%H:%M}', "
            f"end: '{later + timedelta(hours=1):%H:%M}', timezone: UTC}}"
        )
        for windows, why in (
            (shut, "is open at"),
            ("", "the policy has none, so it never is"),
        ):
            path = manifest(tmp_path, [ONE_SSD], policy(windows))
            ran = run("drift", str(path), "--correct", env=served.env)
            assert (ran.code, posts(served)) == (2, 0)
            assert "! drift-window: no window of" in ran.out
            assert why in ran.out
        nowhere = policy(WHOLE_DAY % ("23:59", "Nowhere/Land"))
        ran = run("drift", str(manifest(tmp_path, [ONE_SSD], nowhere)), "--correct", env=served.env)
        assert (ran.code, posts(served)) == (9, 0)
        assert "'Nowhere/Land' is unknown" in ran.err


def test_a_machine_without_time_zones_knows_those_of_windows_all_the_same(run: Run, tmp_path: Path) -> None:
    path = manifest(tmp_path, [ONE_SSD], policy(WHOLE_DAY % ("23:59", "Asia/Bangkok")))
    checked = run("validate", str(path), env={"PYTHONTZPATH": ""})
    assert (checked.code, checked.err) == (0, "")


def test_disks_of_a_day_are_counted_over_runs(run: Run, tmp_path: Path) -> None:
    with serving(two_pools()) as served:
        both = [ONE_SSD, ONE_SSD.replace("name: p", "name: q")]
        first = run("drift", str(manifest(tmp_path, both, policy(disks=1))), "--correct", env=served.env)
        assert (first.code, posts(served)) == (2, 1)
        assert "! drift-budget: q: 2 disks would have been removed this UTC day" in first.out
        again = run("drift", str(manifest(tmp_path, both, policy(disks=1))), "--correct", env=served.env)
        assert (again.code, posts(served)) == (2, 1)
        more = run("drift", str(manifest(tmp_path, both, policy(disks=2))), "--correct", env=served.env)
        assert (more.code, posts(served)) == (0, 2)


def test_shares_look_at_every_pool_once_and_share_the_limits_and_the_day(run: Run, tmp_path: Path) -> None:
    names = [f"pool-{letter}" for letter in "abcdef"]
    pools = [seed.pool(each, [("SAS", 50), ("SSD", 100)], 1, 1) for each in names]
    shares = [("--shard", f"{number}/3") for number in (1, 2, 3)]
    with serving(seed.world("drift", pools)) as served:
        entries = [ONE_SSD.replace("name: p", f"name: {each}") for each in names]
        path = str(manifest(tmp_path, entries, f"{policy(disks=4)}\nlimits: {{pools: 6, disks: 6}}"))
        seen = [run("drift", path, *share, "--format", "json", env=served.env) for share in shares]
        found = [pool["pool"] for each in seen for pool in json.loads(each.out)["pools"]]
        assert sorted(found) == names

        assert "without --run-group" in run("drift", path, "--correct", *shares[0], env=served.env).err
        for share in shares:
            run("drift", path, "--correct", *share, "--run-group", "night-1", env=served.env)
        assert posts(served) == 4

        # The day has room for the last two now, the group of this run has not.
        wider = str(manifest(tmp_path, entries, f"{policy(disks=9)}\nlimits: {{pools: 6, disks: 4}}"))
        group = ("--run-group", "night-1")
        told = [run("drift", wider, "--correct", *share, *group, env=served.env) for share in shares]
        assert any("the run group night-1 would destroy too much" in each.err for each in told)
        assert posts(served) == 4
        for share in shares:  # what was refused has used nothing of the day
            run("drift", wider, "--correct", *share, *group, env=served.env)
        again = [
            run("drift", wider, "--correct", *share, "--run-group", "night-2", env=served.env)
            for share in shares
        ]
        assert posts(served) == 6, [each.err for each in again]


def test_what_failed_once_is_reported_and_not_tried_again(run: Run, tmp_path: Path) -> None:
    failing = seed.pool("p", [("SAS", 50), ("SSD", 100)], 3, 2)
    failing["behaviour"] = {"delete": "fail"}
    world = seed.world("drift", [failing])
    with serving(world) as served:
        path = manifest(tmp_path, [ONE_SSD], policy())
        first = run("drift", str(path), "--correct", env=served.env)
        assert (first.code, posts(served)) == (6, 1)
        again = run("drift", str(path), "--correct", env=served.env)
        assert (again.code, posts(served)) == (2, 1)
        assert "! drift-attempted: p: this was tried before and did not end well" in again.out


def test_the_report_shows_the_drift_the_removal_and_the_world_it_comes_from(run: Run, tmp_path: Path) -> None:
    with serving(two_pools()) as served:
        path, page = manifest(tmp_path, [ONE_SSD], policy()), tmp_path / "report.html"
        run("drift", str(path), env=served.env)
        before = run("report", "--out", str(page), env=served.env)
        assert before.code == 0
        text = page.read_text(encoding="utf-8")
        assert "150 GB on surplus disks" in text
        assert "None in this period." in text
        assert "SANDBOX (<bdi>drift</bdi>)" in text
        run("drift", str(path), "--correct", env=served.env)
        assert run("report", "--out", str(page), "--since", "1d", env=served.env).code == 0
        text = page.read_text(encoding="utf-8")
        assert "No drift now" in text
        assert "<bdi>remove SAS 50 GB</bdi>" in text
        assert "peak 150" in text


def test_a_report_that_cannot_be_written_or_looks_back_in_no_unit_says_so(run: Run, tmp_path: Path) -> None:
    assert run("report", "--out", str(tmp_path / "no" / "report.html")).code == 9
    ran = run("report", "--out", str(tmp_path / "report.html"), "--since", "30")
    assert ran.code == 9
    assert "--since '30' is not a duration" in ran.err


@contextmanager
def hook(status: int) -> Iterator[tuple[str, list[Any]]]:
    """An address with a secret in it, and what was sent there."""
    got: list[Any] = []

    async def take(request: Request) -> Response:
        got.append(json.loads(await request.body()))
        return Response(status_code=status)

    with listening(Starlette(routes=[Route("/T0PSECRET", take, methods=["POST"])])) as url:
        yield f"{url}/T0PSECRET", got


def test_a_webhook_is_told_of_drift_and_not_of_its_absence(run: Run, tmp_path: Path) -> None:
    with serving(two_pools()) as served, hook(200) as (url, got):
        path = manifest(tmp_path, [ONE_SSD])
        assert run("drift", str(path), "--webhook", url, env=served.env).code == 2
        [told] = got
        assert (told["source"], told["exit_code"], told["pools"], told["sandbox"]) == (
            "reconciler",
            2,
            ["p"],
            True,
        )
        assert told["summary"]["surplus_gigabytes"] == 150
        path = manifest(tmp_path, ["{name: p, disks: [{type: SSD, size: 100}, {type: SAS, size: 50}]}"])
        assert run("drift", str(path), "--webhook", url, env=served.env).code == 0
        assert len(got) == 1


def test_a_webhook_is_told_when_drift_could_not_be_determined(run: Run, tmp_path: Path) -> None:
    with serving(two_pools()) as served, hook(200) as (url, got):
        wrong = served.env | {"HUAWEICLOUD_SDK_SK": "wrong"}
        ran = run("drift", str(manifest(tmp_path, [ONE_SSD])), "--webhook", url, env=wrong)
        assert ran.code == 1
        assert "Drift could not be determined" in got[0]["text"]


def test_a_webhook_that_fails_is_said_and_the_run_s_own_result_stands(run: Run, tmp_path: Path) -> None:
    with serving(two_pools()) as served, hook(500) as (url, got):
        path = manifest(tmp_path, [ONE_SSD])
        ran = run("drift", str(path), "--format", "json", "--webhook", url, env=served.env)
        assert (ran.code, len(got)) == (2, 3)  # what may pass is tried again, and then said
        assert "Warning: the webhook http://127.0.0.1/… was not delivered: it answered HTTP 500" in ran.err
        assert json.loads(ran.out)["exit_code"] == 2
        assert "T0PSECRET" not in ran.out + ran.err


def test_what_an_earlier_run_began_and_this_one_proves_is_no_drift_any_more(run: Run, tmp_path: Path) -> None:
    with serving(two_pools()) as served:
        path, file = str(manifest(tmp_path, [ONE_SSD], policy())), tmp_path / "drift.prom"
        assert run("apply", path, "--auto-approve", "--no-wait", env=served.env).code == 8
        served.offset[0] = 60  # the job has ended, and the pool has come to rest
        ran = run("drift", path, "--correct", "--prometheus", str(file), env=served.env)
        assert (ran.code, posts(served)) == (0, 1)
        assert "resolved: done" in ran.err
        assert numbers(file)["reconciler_pool_surplus_disks", "p"] == 0


def test_a_pool_that_an_apply_is_changing_is_no_alarm_and_needs_no_resolve(run: Run, tmp_path: Path) -> None:
    with serving(two_pools(), job_seconds=600) as served, hook(200) as (url, got):
        path = manifest(tmp_path, [ONE_SSD])
        assert run("apply", str(path), "--auto-approve", "--no-wait", env=served.env).code == 8
        kept = open_journal(f"sqlite:///{tmp_path}/state/journal.db", TIME.now)
        [operation] = kept.unresolved()
        # Only the owner may renew, so this is what the journal shows while that apply still runs.
        kept.renew_lease(operation.id, operation.owner, 3600)
        ran = run("drift", str(path), "--webhook", url, env=served.env)
        assert (ran.code, got) == (5, [])
        assert f"being changed by run {operation.owner}" in ran.out
        assert "1 pool is being changed by another run." in ran.out
        assert "resolve" not in ran.out + ran.err

        kept.renew_lease(operation.id, operation.owner, 0)
        kept.close()
        left = run("drift", str(path), "--webhook", url, env=served.env)
        assert (left.code, len(got)) == (2, 1)
        assert "reconciler resolve" in left.out
