"""Messages of plan, apply, drift and watch: who hears what of which pools, and that a run never depends on it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reconciler import sandbox
from reconciler.sandbox import seed
from tests.flows.conftest import Run, manifest
from tests.flows.rounds import come, watched
from tests.flows.serving import Served, listening, serving

P = "{name: p, owner: finance, apply_to: all, disks: [{type: SSD, size: 100}]}"
Q = "{name: q-of-others, apply_to: all, disks: [{type: SSD, size: 100}]}"
CALM_P = "{name: p, owner: finance, disks: [{type: SSD, size: 100}, {type: SAS, size: 50}]}"
ALL_DAYS = "days: [mon, tue, wed, thu, fri, sat, sun], timezone: UTC"
POLICY = (
    "drift: {correct: [remove], disks_per_day: 5, windows: ["
    f"{{{ALL_DAYS}, start: '00:00', end: '12:00'}}, {{{ALL_DAYS}, start: '12:00', end: '00:00'}}]}}"
)


@dataclass
class Hooks:
    """Two webhooks: one that hears of everything, one of the people of finance."""

    url: str = ""
    status: int = 200
    every: list[dict[str, Any]] = field(default_factory=list)
    finance: list[dict[str, Any]] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        return {
            "RECONCILER_WEBHOOK": f"{self.url}/T0PSECRET-every",
            "RECONCILER_WEBHOOK_FINANCE": f"{self.url}/T0PSECRET-finance",
        }


@contextmanager
def hearing() -> Iterator[Hooks]:
    hooks = Hooks()

    async def take(request: Request) -> Response:
        whose = hooks.finance if "finance" in request.url.path else hooks.every
        whose.append(json.loads(await request.body()))
        return Response(status_code=hooks.status)

    with listening(Starlette(routes=[Route("/{path:path}", take, methods=["POST"])])) as url:
        hooks.url = url
        yield hooks


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    with hearing() as found:
        yield found


@pytest.fixture
def service() -> Iterator[Served]:
    """Two pools with one surplus disk each: of finance, and of nobody."""
    pools = [seed.pool(each, [("SAS", 50), ("SSD", 100)], 3, 2) for each in ("p", "q-of-others")]
    with serving(seed.world("messages", pools)) as found:
        yield found


CI = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.example",
    "GITHUB_REPOSITORY": "desks/pools",
    "GITHUB_RUN_ID": "77",
    "GITHUB_REF": "refs/pull/5/merge",
    "GITHUB_SHA": "abc123",
    "GITHUB_TRIGGERING_ACTOR": "ann",
}


def test_an_apply_tells_what_it_did_who_approved_it_and_how_and_where_to_see_more(
    run: Run, tmp_path: Path, service: Served, hooks: Hooks
) -> None:
    path = str(manifest(tmp_path, [P, Q]))
    ran = run("apply", path, "--auto-approve", env=service.env | hooks.env | CI)
    assert ran.code == 0, ran.err
    [told] = hooks.every
    assert (told["command"], told["severity"], told["exit_code"]) == ("apply", "success", 0)
    assert (told["approved"], told["started_by"], told["commit"]) == ("auto-approve", "ann", "abc123")
    assert told["run_url"] == "https://github.example/desks/pools/actions/runs/77"
    assert told["pull_request"] == "https://github.example/desks/pools/pull/5"
    assert told["targets"] == [{"region": sandbox.REGION, "project_id": sandbox.PROJECT_ID}]
    assert [(each["pool"], each["status"], each["done"], each["gigabytes"]) for each in told["details"]] == [
        ("p", "done", 1, 150),
        ("q-of-others", "done", 1, 150),
    ]
    assert told["summary"] == {"done": 2, "planned": 2}
    assert told["text"].startswith("Apply complete! 2 changes proven")
    assert "T0PSECRET" not in ran.out + ran.err


def test_the_people_of_a_pool_hear_of_their_pool_and_of_nothing_else(
    run: Run, tmp_path: Path, service: Served, hooks: Hooks
) -> None:
    path, env = str(manifest(tmp_path, [P, Q])), service.env | hooks.env
    run("plan", path, "--notify", env=env)
    run("drift", path, env=env)
    run("apply", path, "--auto-approve", env=env)
    assert [each["command"] for each in hooks.finance] == ["plan", "drift", "apply"]
    assert [each["command"] for each in hooks.every] == ["plan", "drift", "apply"]
    for own, every in zip(hooks.finance, hooks.every, strict=True):
        assert "q-of-others" in json.dumps(every)
        assert "q-of-others" not in json.dumps(own)
        assert (own["owner"], [each["pool"] for each in own["details"]]) == ("finance", ["p"])
        assert own["approval_command"] is None
        for total in ("2 to destroy", "2 disks", "2 pools", "2 changes", "300 GB"):
            assert total not in own["text"]
    planned, drifted, applied = hooks.finance
    assert (planned["summary"]["destroy"], planned["summary"]["gigabytes"], planned["digest"]) == (
        1,
        150,
        None,
    )
    assert (drifted["text"], "summary" in drifted) == ("1 of 1 pool of finance needs attention.", False)
    assert (applied["summary"], applied["exit_code"]) == ({"done": 1, "planned": 1}, None)


def test_the_trouble_of_others_is_none_of_theirs(
    run: Run, tmp_path: Path, service: Served, hooks: Hooks
) -> None:
    path, env = str(manifest(tmp_path, [CALM_P, Q])), service.env | hooks.env
    assert run("drift", path, env=env).code == 2
    assert run("apply", path, "--auto-approve", env=env).code == 0
    assert (len(hooks.every), hooks.finance) == (2, [])


def test_a_plan_tells_only_when_asked_to_and_how_to_approve_what_waits(
    run: Run, tmp_path: Path, service: Served, hooks: Hooks
) -> None:
    path, env = str(manifest(tmp_path, [P, Q])), service.env | hooks.env
    assert run("plan", path, env=env).code == 0
    assert hooks.every == []
    ran = run("plan", path, "--notify", env=env | CI)
    [told] = hooks.every
    digest = next(line for line in ran.out.splitlines() if line.startswith("Apply exactly")).split()[-1]
    assert told["approval_command"] == f"reconciler apply {path} --approve {digest}"
    assert (told["severity"], told["digest"], told["summary"]["destroy"]) == ("warning", digest, 2)
    assert told["pull_request"] == "https://github.example/desks/pools/pull/5"
    assert "This destroys 2 disks for good" in told["text"]
    calm = str(manifest(tmp_path, [CALM_P], name="calm.yaml"))
    assert run("plan", calm, "--notify", env=env).code == 0
    assert len(hooks.every) == 1, "where nothing can be approved, nothing waits"
    refused = run("plan", path, "--notify", env=service.env)
    assert (refused.code, "nobody to tell" in refused.err) == (9, True)


def test_a_run_that_is_refused_where_nobody_sits_is_told(
    run: Run, tmp_path: Path, service: Served, hooks: Hooks
) -> None:
    path, env = str(manifest(tmp_path, [P, Q])), service.env | hooks.env
    assert run("apply", path, env=env).code == 3
    assert run("apply", path, "--approve", "0" * 64, env=env).code == 4
    assert [(each["severity"], each["exit_code"]) for each in hooks.every] == [("warning", 3), ("warning", 4)]
    assert "cannot prompt for approval" in hooks.every[0]["text"]
    assert hooks.finance == []


def test_a_run_that_a_limit_stops_is_told_to_the_owners_of_its_pools(
    run: Run, tmp_path: Path, service: Served, hooks: Hooks
) -> None:
    path, env = str(manifest(tmp_path, [P, Q], "limits: {disks: 1}")), service.env | hooks.env
    assert run("apply", path, "--auto-approve", env=env).code == 3
    [own], [every] = hooks.finance, hooks.every
    assert (own["severity"], own["text"]) == ("warning", "1 pool of finance: 1 blocked.")
    assert [each["pool"] for each in own["details"]] == ["p"]
    assert own["details"][0]["text"].startswith(
        "not applied: the run is stopped by limit-disks; 1 to destroy"
    )
    assert "of-others" not in json.dumps(own), "how much others lose is not for this owner"
    corrected = str(manifest(tmp_path, [P, Q], f"limits: {{disks: 1}}\n{POLICY}", "corrected.yaml"))
    assert run("drift", corrected, "--correct", env=env).code == 3
    assert hooks.finance.pop()["details"][0]["text"].endswith(
        "not corrected: the run is stopped by limit-disks"
    )
    hooks.every.pop()
    assert (every["exit_code"], [each["pool"] for each in every["details"]]) == (3, ["p", "q-of-others"])
    assert service.posts() == []


def test_a_webhook_that_fails_changes_nothing_about_a_deletion_and_is_said_and_counted(
    run: Run, tmp_path: Path, service: Served, hooks: Hooks
) -> None:
    hooks.status = 500
    path, file = str(manifest(tmp_path, [P], POLICY)), tmp_path / "drift.prom"
    env = service.env | hooks.env
    ran = run("drift", path, "--prometheus", str(file), env=env)
    assert ran.code == 2
    text = file.read_text(encoding="utf-8")
    assert 'reconciler_notifications_total{result="failed"} 2.0' in text
    assert "reconciler_undelivered_webhooks 2.0" in text
    ran = run("apply", path, "--auto-approve", env=env)
    assert (ran.code, len(service.posts())) == (0, 1)
    assert ran.err.count("was not delivered: it answered HTTP 500 (tried 3 times)") == 2
    assert "of finance was not delivered" in ran.err
    assert "T0PSECRET" not in ran.out + ran.err


def test_an_owner_without_a_webhook_is_said_once(run: Run, tmp_path: Path, service: Served) -> None:
    more = "{name: q-of-others, owner: desk-support, disks: [{type: SSD, size: 100}, {type: SAS, size: 50}]}"
    path = str(manifest(tmp_path, [CALM_P, more]))
    env = service.env | {"RECONCILER_WEBHOOK_FINANCE": "https://hooks.example.com/finance"}
    for command in (("drift",), ("apply", "--auto-approve")):
        said = run(*command, path, env=env).err
        line = "1 owner of pools will not hear of them: RECONCILER_WEBHOOK_DESK_SUPPORT is not set."
        assert said.count(line) == said.count("is not set") == 1
    assert "is not set" not in run("plan", path, env=env).err


def test_a_correction_is_told_as_the_policy_s(
    run: Run, tmp_path: Path, service: Served, hooks: Hooks
) -> None:
    path = str(manifest(tmp_path, [P], POLICY))
    assert run("watch", path, "--once", "--correct", env=service.env | hooks.env).code == 0
    [own] = hooks.finance
    assert (own["command"], own["severity"], own["approved"]) == ("watch", "success", "drift-policy")
    assert (own["details"][0]["correction"], own["details"][0]["done"]) == ("done", 1)


def test_a_message_names_no_person(run: Run, tmp_path: Path, service: Served, hooks: Hooks) -> None:
    people = {
        user
        for pool in service.world()["projects"][sandbox.PROJECT_ID]["pools"].values()
        for desktop in pool["desktops"]
        for user in (desktop.get("users") or [])
    }
    path, env = str(manifest(tmp_path, [P, Q])), service.env | hooks.env
    run("plan", path, "--notify", env=env)
    run("apply", path, "--auto-approve", "--anonymise", env=env)
    assert people, "the sandbox has people on its desktops"
    told = json.dumps(hooks.every + hooks.finance)
    assert {each for each in map(str, people) if f'"{each}"' in told or f" {each}" in told} == set()
    assert hooks.every[-1]["started_by"] is None


def test_a_setting_that_cannot_be_used_is_refused_before_anything_is_done(
    run: Run, tmp_path: Path, service: Served
) -> None:
    path = str(manifest(tmp_path, [P]))
    for name, value in (("FINANCE", "T0PSECRET"), ("Finance", "https://h.example/T0PSECRET")):
        ran = run("apply", path, "--auto-approve", env=service.env | {f"RECONCILER_WEBHOOK_{name}": value})
        assert (ran.code, "T0PSECRET" in ran.out + ran.err) == (9, False)
    assert service.posts() == []


def test_a_watch_tells_an_owner_what_is_new_of_the_owner_s_pools_alone(
    tmp_path: Path, service: Served, hooks: Hooks
) -> None:
    calm_q = "{name: q-of-others, disks: [{type: SSD, size: 100}, {type: SAS, size: 50}]}"
    path = manifest(tmp_path, [P, Q])

    async def between(ended: int) -> None:  # what is new is believed when it has been found twice
        await come(lambda: len(hooks.every) >= 1 + (ended >= 4) and len(hooks.finance) >= 1 + (ended >= 7))
        match ended:
            case 1:
                manifest(tmp_path, [P, calm_q])
            case 4:
                manifest(tmp_path, [CALM_P, calm_q])

    watched(tmp_path, service, str(path), rounds=7, between=between, env=hooks.env)
    assert [each["text"] for each in hooks.finance] == [
        "1 of 1 pool of finance needs attention.",
        "No drift in 1 pool of finance.",
    ]
    assert [each["severity"] for each in hooks.finance] == ["warning", "success"]
