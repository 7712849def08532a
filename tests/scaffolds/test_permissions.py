"""The IAM policies allow what the tool asks of the service, seen on the wire, and nothing that changes more."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from reconciler import sandbox
from reconciler.sandbox.store import Store
from tests.flows.conftest import FINANCE, STUDIO, Run, manifest
from tests.flows.serving import listening
from tests.scaffolds.installing import files

ACTIONS = {
    "GET desktop-pools": "workspace:desktopPools:list",
    "GET desktop-pools/ID": "workspace:desktopPools:get",
    "GET desktop-pools/ID/desktops": "workspace:desktopPools:listDesktops",
    "GET workspace-jobs/ID": "workspace:jobs:get",
    "GET workspace-sub-jobs": "workspace:jobs:listSubJobs",
    "POST desktop-pools/ID/notifications": "workspace:desktopPools:sendNotifications",
    "POST desktop-pools/ID/volumes/batch-delete": "workspace:desktopPools:batchDeleteVolumes",
    "POST desktop-pools/ID/volumes/batch-add": "workspace:desktopPools:batchAddVolumes",
    "POST desktop-pools/ID/volumes/batch-expand": "workspace:desktopPools:batchExpandVolumes",
}
"""The documented action of each call."""


def policy(name: str) -> list[list[str]]:
    """The actions of each statement of a policy."""
    told: dict[str, Any] = json.loads(files("github")[f"iam/{name}-policy.json"])
    assert told["Version"] == "1.1"
    assert [each["Effect"] for each in told["Statement"]] == ["Allow"] * len(told["Statement"])
    return [each["Action"] for each in told["Statement"]]


class Listener:
    """Passes requests on and notes the action that each needs."""

    def __init__(self, app: ASGIApp) -> None:
        self.asked: set[str] = set()
        self.denied: frozenset[str] = frozenset()
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/":  # what a loopback address is; no call of the service
            return await self._app(scope, receive, send)
        path = scope["path"].split(f"/{sandbox.PROJECT_ID}/")[-1]
        path = re.sub(r"(desktop-pools|workspace-jobs)/[^/]+", r"\1/ID", path)
        action = ACTIONS[f"{scope['method']} {path}"]
        self.asked.add(action)
        refused = JSONResponse({"error_code": "WKS.0004", "error_msg": f"no {action}"}, 403)
        return await (refused if action in self.denied else self._app)(scope, receive, send)

    def new(self) -> set[str]:
        """The actions needed since the last call of this."""
        asked, self.asked = self.asked, set()
        return asked


@pytest.fixture
def listener() -> Listener:
    return Listener(sandbox.create_app(Store.memory(sandbox.default_world()), job_seconds=0.3))


@pytest.fixture
def env(listener: Listener) -> Iterator[dict[str, str]]:
    with listening(listener) as url:
        yield {
            "RECONCILER_ENDPOINT": url,
            "HUAWEICLOUD_SDK_AK": sandbox.ACCESS_KEY,
            "HUAWEICLOUD_SDK_SK": sandbox.SECRET_KEY,
            "HUAWEICLOUD_SDK_PROJECT_ID": sandbox.PROJECT_ID,  # without it, IAM is asked as well
        }


def test_the_policies_allow_what_is_asked_on_the_wire(
    tmp_path: Path, run: Run, listener: Listener, env: dict[str, str]
) -> None:
    looking = set(policy("plan")[0])
    acting = looking | {"workspace:desktopPools:batchDeleteVolumes"}
    path = str(manifest(tmp_path, [FINANCE, STUDIO]))
    for command in (["plan", path], ["drift", path], ["explain", "finance-analysts", path]):
        assert run(*command, env=env).code in (0, 2)
        assert listener.new() <= looking, command
    told = FINANCE.replace("disks:", "grace: 7d, announce: {text: 'Disk {disk} goes.'}, disks:")
    assert run("apply", str(manifest(tmp_path, [told], name="told.yaml")), "--mark", env=env).code == 0
    marking = listener.new()
    assert "workspace:desktopPools:sendNotifications" in marking
    assert marking <= set(policy("apply")[0] + policy("apply")[1])
    assert marking <= looking | set(policy("announce")[0]), "what the job that only marks has"
    assert run("apply", path, "--auto-approve", "--no-wait", env=env).code == 8
    assert {"workspace:desktopPools:batchDeleteVolumes"} < listener.new() <= acting
    assert run("resolve", env=env).code in (0, 8)
    resolving = listener.new()
    assert resolving <= looking
    assert {"workspace:jobs:get", "workspace:jobs:listSubJobs"} & resolving
    assert run("apply", path, "--auto-approve", env=env).code == 0
    assert listener.new() <= acting


def test_the_plan_policy_can_change_nothing_and_the_apply_policy_removes_disks_and_tells_people() -> None:
    verbs = {action.split(":")[2] for actions in policy("plan") for action in actions}
    assert verbs == {"list", "get", "listDesktops", "listSubJobs"}
    every = [action for actions in policy("apply") for action in actions]
    plain = [action for actions in policy("plan") for action in actions]
    acts = ["workspace:desktopPools:batchDeleteVolumes", "workspace:desktopPools:sendNotifications"]
    assert sorted(every) == sorted([*plain, *acts])
    assert all(re.fullmatch(r"[a-z]+:[A-Za-z]+:[A-Za-z]+", action) for action in every)


def test_a_run_that_may_not_notify_says_so_and_marks_all_the_same_and_the_next_one_that_may_does(
    tmp_path: Path, run: Run, listener: Listener, env: dict[str, str]
) -> None:
    listener.denied = frozenset(policy("announce")[0])
    told = FINANCE.replace("disks:", "grace: 7d, announce: {text: 'Disk {disk} goes.'}, disks:")
    path = str(manifest(tmp_path, [told]))
    marked = run("apply", path, "--mark", env=env)
    assert marked.code == 0, marked.err
    assert "marked 1 disk" in marked.err
    assert "was not accepted: no workspace:desktopPools:sendNotifications, HTTP 403" in marked.err
    assert "not accepted" in run("marks", env=env).out
    listener.denied = frozenset()
    assert run("apply", path, "--mark", env=env).code == 0
    assert "accepted as job" in run("marks", env=env).out
