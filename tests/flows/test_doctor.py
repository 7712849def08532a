"""``doctor``: what a plan needs is tried, check by check; it only reads, and names neither secrets nor people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reconciler import sandbox
from reconciler.sandbox import seed
from tests.flows.conftest import FINANCE, Run, manifest
from tests.flows.inside import Ran
from tests.flows.serving import Served, listening, serving
from tests.flows.skipping import TIME


def checks(ran: Ran) -> dict[str, Any]:
    """The checks of a document by their names."""
    return {each["name"]: each for each in json.loads(ran.out)["checks"]}


def examined(run: Run, *arguments: str, env: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    ran = run("doctor", *arguments, "--format", "json", env=env)
    assert json.loads(ran.out)["exit_code"] == ran.code
    return ran.code, checks(ran)


def results(found: Mapping[str, Any]) -> dict[str, str]:
    return {name: each["result"] for name, each in found.items()}


def test_with_everything_in_order_each_check_is_ok_and_nothing_is_written(
    run: Run, served: Served, tmp_path: Path
) -> None:
    path = str(manifest(tmp_path, [FINANCE]))
    code, found = examined(run, path, env=served.env)
    told = results(found)
    assert (code, told.pop("journal"), told.pop("show job")) == (0, "not tried", "not tried")
    # The sandbox, like some gateways, sends no Date.
    assert told.pop("clock") in ("ok", "warning")
    assert set(told.values()) == {"ok"}, found
    assert {
        "versions",
        "settings",
        "time zones",
        "manifests",
        "policy",
        "address",
        "identity",
        "project",
    } <= set(told)
    assert {"list pools", "show pool", "list desktops", "count differing desktops", "list sub-jobs"} <= set(
        told
    )
    assert found["declared pools"]["message"] == "1 found"
    assert "HUAWEICLOUD_SDK_AK" in found["settings"]["message"]
    assert "access key" in found["identity"]["message"]
    assert served.world()["record"] == []
    assert not (tmp_path / "state" / "journal.db").exists()
    text = run("doctor", path, env=served.env)
    assert text.code == 0
    assert "ok         list pools: " in text.out
    assert "not tried  show job: it needs the id of a job" in text.out


def test_neither_a_secret_nor_the_name_of_a_person_is_printed(
    run: Run, served: Served, tmp_path: Path
) -> None:
    path = str(manifest(tmp_path, [FINANCE]))
    home = {"HOME": str(tmp_path), "USER": "wilhelmina"}
    env = served.env | home | {"RECONCILER_POLICY": str(tmp_path / "wilhelmina.yaml")}
    ran = run("doctor", path, env=env)
    assert (ran.code, "failure    policy:" in ran.out) == (9, True)
    people = {user for desktop in served.pool("finance-analysts")["desktops"] for user in desktop["users"]}
    assert people
    for private in (sandbox.SECRET_KEY, sandbox.ACCESS_KEY, str(tmp_path), "wilhelmina", *people):
        assert private not in ran.out + ran.err, private


def test_a_login_is_named_by_its_kind_alone(run: Run, served: Served, tmp_path: Path) -> None:
    keys = ("HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK", "HUAWEICLOUD_SDK_PROJECT_ID")
    login = {"HW_USER_NAME": "wilhelmina", "HW_USER_PASSWORD": "not-hers", "HW_DOMAIN_NAME": "smithsons"}
    env = {name: value for name, value in served.env.items() if name not in keys} | login
    ran = run("doctor", str(manifest(tmp_path, [FINANCE])), env=env)
    assert (ran.code, "identity: user, from HW_USER_NAME" in ran.out) == (1, True)
    for private in login.values():
        assert private not in ran.out + ran.err


def test_wrong_keys_fail_where_they_are_used_and_give_the_exit_code(
    run: Run, served: Served, tmp_path: Path
) -> None:
    code, found = examined(
        run, str(manifest(tmp_path, [FINANCE])), env=served.env | {"HUAWEICLOUD_SDK_SK": "wrong"}
    )
    assert (code, found["list pools"]["result"]) == (1, "failure")
    assert found["list pools"]["message"].startswith("HTTP 401")
    assert found["other calls"]["result"] == "not tried"


def test_an_address_that_does_not_answer_ends_the_checks_of_its_target(run: Run, tmp_path: Path) -> None:
    keys = {
        "HUAWEICLOUD_SDK_AK": "A" * 20,
        "HUAWEICLOUD_SDK_SK": "secret-key",
        "RECONCILER_ENDPOINT": "http://127.0.0.1:9",
    }
    code, found = examined(run, str(manifest(tmp_path, [FINANCE])), env=keys)
    assert (code, found["address"]["result"], found["service"]["result"]) == (1, "failure", "not tried")
    assert "no connection" in found["address"]["message"]


def test_a_project_of_other_credentials_is_a_failure(run: Run, served: Served, tmp_path: Path) -> None:
    env = served.env | {"HUAWEICLOUD_SDK_PROJECT_ID": "f" * 32}
    code, found = examined(run, str(manifest(tmp_path, [FINANCE])), env=env)
    assert (code, found["project"]["result"]) == (9, "failure")


def test_pools_that_are_not_found_or_count_other_desktops_are_named(run: Run, tmp_path: Path) -> None:
    odd, plain = seed.pool("odd", [("SAS", 50)], 3, 1), seed.pool("plain", [("SAS", 50)], 2, 1)
    odd["behaviour"]["count"] = 5
    with serving(seed.world("doctor", [odd, plain])) as served:
        entries = [f"{{name: {each}, disks: [{{type: SAS, size: 50}}]}}" for each in ("odd", "plain", "gone")]
        code, found = examined(run, str(manifest(tmp_path, entries)), env=served.env)
        assert (code, found["declared pools"]["result"], found["list desktops"]["result"]) == (
            3,
            "failure",
            "warning",
        )
        assert "1 of 3 not found: no pool has the name 'gone'" in found["declared pools"]["message"]
        assert "odd counts 5 and lists 3" in found["list desktops"]["message"]
        assert "plain" not in found["list desktops"]["message"]


def page(request: Request) -> Response:
    """A service of another version that forbids all but the list of pools."""
    if not request.url.path.endswith("/desktop-pools"):
        return JSONResponse({"error_code": "WKS.0403", "error_msg": "wilhelmina may not"}, 403)
    disks = [{"id": "d1", "type": "QUANTUM", "size": 50, "qubits": 3}]
    pool = {"id": "p1", "name": "p", "status": "DREAMING", "charging_mode": "7", "data_volumes": disks}
    body = {"total_count": 1, "desktop_pools": [pool | {"desktop_count": 1}]}
    return JSONResponse(body, headers={"Date": formatdate(usegmt=True)})


def test_what_is_forbidden_unknown_or_an_hour_away_is_said(run: Run, served: Served, tmp_path: Path) -> None:
    path = str(manifest(tmp_path, ["{name: p, disks: [{type: SAS, size: 50}]}"]))
    TIME.skipped += 3600
    with listening(Starlette(routes=[Route("/{path:path}", page)])) as url:
        ran = run("doctor", path, "--format", "json", env=served.env | {"RECONCILER_ENDPOINT": url})
    found = checks(ran)
    assert "wilhelmina" not in ran.out
    assert (found["clock"]["result"], ran.code) == ("failure", 1)
    assert "ahead of the service's" in found["clock"]["message"]
    assert found["show pool"]["advice"] == "let this identity do workspace:desktopPools:get"
    assert results(found)["list desktops"] == "failure"
    assert results(found)["list sub-jobs"] == results(found)["count differing desktops"] == "warning"
    for word in ("field desktop_pools.data_volumes.qubits", "'DREAMING'", "'QUANTUM'", "charging_mode '7'"):
        assert word in found["fields and words"]["message"]


def test_a_journal_is_looked_at_as_a_whole_and_left_as_it_is(run: Run, tmp_path: Path) -> None:
    path = str(manifest(tmp_path, [FINANCE]))
    with serving(
        sandbox.default_world(), job_seconds=3600
    ) as served:  # its job is there, however long this takes
        run("apply", path, "--auto-approve", "--no-wait", env=served.env)
        TIME.skipped += 1800  # half of its sub-jobs have not begun
        file = tmp_path / "state" / "journal.db"
        before = file.read_bytes()
        code, found = examined(run, path, env=served.env)
        assert (code, found["journal"]["result"], found["journal: content"]["result"]) == (0, "ok", "warning")
        assert "SQLite, version" in found["journal"]["message"]
        assert "1 open operation, 0 alarms" in found["journal: content"]["message"]
        assert found["show job"]["result"] == "ok"
        assert file.read_bytes() == before
        file.write_bytes(b"no database at all, but long enough to be one" * 100)
        code, found = examined(run, path, env=served.env)
        assert (code, found["journal"]["result"], found["list pools"]["result"]) == (10, "failure", "ok")


@pytest.mark.parametrize(
    ("env", "name", "word"),
    [
        ({"RECONCILER_CONCURRENCY": "many"}, "settings", "RECONCILER_CONCURRENCY"),
        ({"RECONCILER_POLICY": "missing.yaml"}, "policy", "missing.yaml"),
        ({"RECONCILER_PATHS": ""}, "manifests", "RECONCILER_PATHS"),
        ({"HW_ACCESS_KEY": ""}, "identity", "HW_ACCESS_KEY"),
    ],
)
def test_what_is_wrong_here_is_a_failure_that_says_where(
    run: Run, served: Served, env: dict[str, str], name: str, word: str
) -> None:
    region = {"HW_REGION_NAME": sandbox.REGION}
    code, found = examined(run, env=served.env | region | env)
    assert (code, found[name]["result"]) == (9, "failure")
    assert word in found[name]["message"]


def test_without_manifests_the_project_of_the_settings_is_asked(run: Run, served: Served) -> None:
    code, found = examined(run, env=served.env | {"HW_REGION_NAME": sandbox.REGION})
    assert (code, found["manifests"]["result"], found["list pools"]["result"]) == (0, "not tried", "ok")
    code, found = examined(run, env={})
    assert (code, found["service"]["result"]) == (0, "not tried")
