"""The interlock of project and region through the whole command line, and identities that the sandbox plays."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler import sandbox
from reconciler.cli.interlock import Interlock, context
from reconciler.identity import find_identity
from reconciler.model import Manifest, Position, Target
from reconciler.sandbox.agencies import agency_urn
from reconciler.settings import Settings
from tests.flows.conftest import FINANCE, STUDIO, Run, manifest
from tests.flows.serving import Served, serving
from tests.flows.skipping import TIME

SPARE = {"id": "spare", "type": "SAS", "size": 10}
PROJECT = "HUAWEICLOUD_SDK_PROJECT_ID"
OTHER = "f" * 32


def without_project(served: Served) -> dict[str, str]:
    return {name: value for name, value in served.env.items() if name != PROJECT}


def elsewhere(folder: Path) -> Path:
    """A manifest for a project that the sandbox's keys do not reach."""
    path = manifest(folder, [FINANCE])
    path.write_text(path.read_text().replace(sandbox.PROJECT_ID, OTHER))
    return path


@pytest.fixture
def surplus(served: Served) -> Served:
    """A world in which an apply would destroy a disk."""
    served.give("finance-analysts", SPARE)  # type: ignore[arg-type]
    return served


@pytest.fixture
def listed(served: Served) -> Callable[[], int]:
    """How often IAM was asked for projects so far."""
    asked: list[int] = []
    (route,) = [each for each in served.app.router.routes if each.path == "/v3/projects"]
    answer = route.app

    async def count(scope: Any, receive: Any, send: Any) -> None:
        asked.append(1)
        await answer(scope, receive, send)

    route.app = count
    return lambda: len(asked)


def test_where_nothing_configures_a_project_iam_is_asked_once_and_the_run_goes_on(
    run: Run, surplus: Served, tmp_path: Path, listed: Callable[[], int]
) -> None:
    paths = [str(manifest(tmp_path, [FINANCE]))]
    ran = run("apply", "--auto-approve", *paths, env=without_project(surplus))
    assert ran.code == 0, ran.err
    assert len(surplus.posts()) == 1
    assert listed() == 1


def test_where_a_project_is_configured_iam_is_not_asked(
    run: Run, served: Served, tmp_path: Path, listed: Callable[[], int]
) -> None:
    assert run("plan", str(manifest(tmp_path, [FINANCE])), env=served.env).code == 0
    assert listed() == 0


@pytest.mark.parametrize("confirm", [(), ("--project-id", OTHER)])
@pytest.mark.parametrize("command", [("apply", "--auto-approve"), ("drift", "--correct")])
def test_what_writes_is_refused_a_project_that_is_not_among_those_of_the_key_whatever_is_confirmed(
    run: Run, surplus: Served, tmp_path: Path, command: tuple[str, ...], confirm: tuple[str, ...]
) -> None:
    path = elsewhere(tmp_path)
    ran = run(*command, *confirm, str(path), env=without_project(surplus))
    assert ran.code == 9
    assert f"the project of the target ap-southeast-3/{OTHER} ({path}:2:9) is not among the 1 of" in ran.err
    assert "access key SAND…0001, from HUAWEICLOUD_SDK_AK" in ran.err
    assert not surplus.posts()


def test_what_reads_is_warned_of_it(run: Run, surplus: Served, tmp_path: Path) -> None:
    ran = run("plan", str(elsewhere(tmp_path)), env=without_project(surplus))
    assert ran.err.count("Warning: the project of the target") == 1
    assert "a run that writes would be refused" in ran.err
    assert ran.code == 1  # the service refuses it as well


def denied(served: Served) -> dict[str, str]:
    """Keys that may do everything but list projects."""
    served.world()["accounts"][0]["denied"].append("list-projects")
    return without_project(served)


def test_a_project_that_cannot_be_confirmed_is_refused_until_it_is_named(
    run: Run, surplus: Served, tmp_path: Path
) -> None:
    path, env = manifest(tmp_path, [FINANCE]), denied(surplus)
    refused = run("apply", "--auto-approve", str(path), env=env)
    assert refused.code == 9
    assert f"({path}:2:9) could not be confirmed" in refused.err
    assert "--project-id" in refused.err
    assert not surplus.posts()
    warned = run("plan", str(path), env=env)
    assert (warned.code, "Warning: the project of the target" in warned.err) == (0, True)
    named = ("--project-id", sandbox.PROJECT_ID)
    assert "Warning" not in run("plan", *named, str(path), env=env).err
    assert run("apply", "--auto-approve", *named, str(path), env=env).code == 0
    assert len(surplus.posts()) == 1


def test_the_resolve_that_is_printed_confirms_the_project_as_the_apply_before_it(
    run: Run, surplus: Served, tmp_path: Path
) -> None:
    path, env = manifest(tmp_path, [FINANCE]), denied(surplus)
    named = ("--project-id", sandbox.PROJECT_ID)
    ran = run("apply", "--auto-approve", "--no-wait", *named, str(path), env=env)
    assert (ran.code, f"reconciler resolve --project-id {sandbox.PROJECT_ID}" in ran.out) == (8, True), (
        ran.out
    )
    assert run("resolve", *named, env=env).code == 0
    half = run("resolve", "--region", sandbox.REGION, env=env)
    assert (half.code, "--region goes together with one --project-id" in half.err) == (9, True)


def test_the_projects_of_a_token_are_asked_like_those_of_keys(
    run: Run, surplus: Served, tmp_path: Path, listed: Callable[[], int]
) -> None:
    env = _as({"HW_AUTH_TOKEN": sandbox.TOKEN}, surplus)
    assert run("apply", "--auto-approve", str(elsewhere(tmp_path)), env=env).code == 9
    assert run("apply", "--auto-approve", str(manifest(tmp_path, [FINANCE])), env=env).code == 0
    assert (len(surplus.posts()), listed()) == (1, 2)


def test_a_login_is_for_the_project_of_the_target_or_fails_so_nothing_is_listed(
    run: Run, surplus: Served, tmp_path: Path, listed: Callable[[], int]
) -> None:
    login = {"HW_USER_NAME": "sandbox", "HW_USER_PASSWORD": "sandbox-password", "HW_DOMAIN_NAME": "sandbox"}
    env = _as(login, surplus)
    assert run("apply", "--auto-approve", str(elsewhere(tmp_path)), env=env).code == 1
    assert run("apply", "--auto-approve", str(manifest(tmp_path, [FINANCE])), env=env).code == 0
    assert (len(surplus.posts()), listed()) == (1, 0)


def _as(identity: dict[str, str], served: Served) -> dict[str, str]:
    """Another identity at the same addresses."""
    return {"RECONCILER_ENDPOINT": served.url, "RECONCILER_IAM_ENDPOINT": served.url} | identity


def test_a_command_to_paste_repeats_the_confirmed_project(run: Run, surplus: Served, tmp_path: Path) -> None:
    path = manifest(tmp_path, [FINANCE])
    ran = run(
        "plan", "--format", "markdown", "--project-id", sandbox.PROJECT_ID, str(path), env=denied(surplus)
    )
    assert f"--project-id {sandbox.PROJECT_ID}" in ran.out


def test_a_service_on_this_machine_without_an_iam_of_its_own_never_sends_keys_to_the_cloud(
    run: Run, surplus: Served, tmp_path: Path
) -> None:
    env = without_project(surplus)
    del env["RECONCILER_IAM_ENDPOINT"]
    ran = run("apply", "--auto-approve", str(manifest(tmp_path, [FINANCE])), env=env)
    assert ran.code == 9
    assert "has no IAM but that of RECONCILER_IAM_ENDPOINT" in ran.err
    assert not surplus.posts()


def test_a_project_of_another_region_is_refused(run: Run, surplus: Served, tmp_path: Path) -> None:
    path = manifest(tmp_path, [FINANCE])
    path.write_text(path.read_text().replace(sandbox.REGION, "ap-southeast-2"))
    ran = run("apply", "--auto-approve", str(path), env=without_project(surplus))
    assert ran.code == 9
    assert "is 'ap-southeast-3', which is in another region" in ran.err
    assert not surplus.posts()


def test_a_region_of_another_form_is_a_fault_of_the_manifest(
    run: Run, served: Served, tmp_path: Path
) -> None:
    path = manifest(tmp_path, [FINANCE])
    path.write_text(path.read_text().replace(sandbox.REGION, "ap-southeast3"))
    ran = run("plan", str(path), env=served.env)
    assert ran.code == 9
    assert f"{path}:2:18: region: 'ap-southeast3' is not accepted" in ran.err
    flag = run("import", "--region", "ap-southeast3", "--project-id", sandbox.PROJECT_ID, env=served.env)
    assert (flag.code, "'ap-southeast3'" in flag.err) == (9, True)


def test_the_region_equals_that_of_the_environment(run: Run, served: Served, tmp_path: Path) -> None:
    path = manifest(tmp_path, [FINANCE])
    ran = run("plan", str(path), env=served.env | {"HW_REGION_NAME": "cn-north-4"})
    assert ran.code == 9
    assert f"({path}:2:9) is in the region ap-southeast-3, HW_REGION_NAME is cn-north-4" in ran.err
    assert run("plan", str(path), env=served.env | {"HW_REGION_NAME": sandbox.REGION}).code == 0
    assert "OS_REGION_NAME is x" in run("plan", str(path), env=served.env | {"OS_REGION_NAME": "x"}).err


def test_an_endpoint_that_names_another_region_is_refused(run: Run, served: Served, tmp_path: Path) -> None:
    path = manifest(tmp_path, [FINANCE])
    endpoint = "https://workspace.cn-north-4.myhuaweicloud.com"
    ran = run("plan", "--endpoint", endpoint, str(path), env=served.env)
    assert ran.code == 9
    assert f"the endpoint {endpoint} is that of cn-north-4" in ran.err


def test_keys_that_are_not_accepted_say_whose_they_are_and_for_which_target(
    run: Run, served: Served, tmp_path: Path
) -> None:
    path = manifest(tmp_path, [FINANCE])
    ran = run("plan", str(path), env=served.env | {"HUAWEICLOUD_SDK_SK": "wrong"})
    assert ran.code == 1
    assert f"this concerns the target ap-southeast-3/{sandbox.PROJECT_ID} ({path}:2:9)" in ran.err
    assert "as access key SAND…0001, from HUAWEICLOUD_SDK_AK" in ran.err


def test_a_missing_secret_ends_the_run_before_it_acts_as_somebody_else(
    run: Run, surplus: Served, tmp_path: Path
) -> None:
    path = manifest(tmp_path, [FINANCE])
    ran = run("apply", "--auto-approve", str(path), env=surplus.env | {"HW_ACCESS_KEY": ""})
    assert ran.code == 9
    assert "HW_ACCESS_KEY is set, but empty" in ran.err
    assert f"this concerns the target ap-southeast-3/{sandbox.PROJECT_ID} ({path}:2:9)" in ran.err
    assert not surplus.posts()


def test_an_address_that_was_derived_from_the_region_says_so(tmp_path: Path) -> None:
    target, position = Target("ap-southeast-9", OTHER), Position("pools.yaml", 2, 9)
    manifested = Manifest((), places=((target, position),))
    interlock = Interlock.of(manifested, None, print, writes=False)
    identity = find_identity({"HW_ACCESS_KEY": "A" * 20, "HW_SECRET_KEY": "s"}, tmp_path)
    derived = context(interlock, target, identity, Settings())
    assert f"the target ap-southeast-9/{OTHER} (pools.yaml:2:9)" in derived
    assert "the address was derived from the region ap-southeast-9" in derived
    assert "derived" not in context(interlock, target, identity, Settings(endpoint="https://own.example"))


def test_the_address_that_gives_keys_is_said_where_the_region_alone_named_it() -> None:
    target = Target("ap-southeast-9", OTHER)
    interlock = Interlock.of(Manifest(()), None, print, writes=False)
    names = ("PROVIDER_URN", "AGENCY_URN", "ID_TOKEN")
    identity = find_identity({f"HUAWEICLOUD_OIDC_{each}": "x" for each in names}, Path("/nonexistent"))
    said = context(interlock, target, identity, Settings(endpoint="https://own.example"))
    assert "of STS was derived from the region ap-southeast-9, RECONCILER_STS_ENDPOINT sets another" in said
    own = Settings(endpoint="https://own.example", sts_endpoint="https://sts.example")
    assert "derived" not in context(interlock, target, identity, own)


# --- who acts -----------------------------------------------------------------------------------

WHOM = "access key SAND…0001, from HUAWEICLOUD_SDK_AK"
ENTRY = {
    "kind": "access key",
    "access_key": "SAND…0001",
    "user": None,
    "agency": None,
    "source": "HUAWEICLOUD_SDK_AK",
}


def test_every_output_says_as_whom_and_where_that_was_found(
    run: Run, surplus: Served, tmp_path: Path
) -> None:
    path, env = str(manifest(tmp_path, [FINANCE])), surplus.env
    planned = run("plan", path, env=env)
    assert f"\nActing as {WHOM}.\n" in planned.out
    assert json.loads(run("plan", "--format", "json", path, env=env).out)["target"]["identity"] == ENTRY
    assert f"Acting as {WHOM}." in run("drift", path, env=env).out
    found = json.loads(run("drift", "--format", "json", path, env=env).out)
    assert found["targets"][0]["identity"] == ENTRY
    applied = run("apply", "--auto-approve", "--format", "json", path, env=env)
    assert json.loads(applied.out)["targets"][0]["identity"] == ENTRY
    assert all(line.endswith(WHOM) for line in run("history", env=env).out.splitlines()[2:][1:])
    runs = json.loads(run("history", "--format", "json", env=env).out)["runs"]
    assert [each["summary"]["identities"] for each in runs] == [[WHOM]] * 3
    for each in runs:
        shown = run("history", "show", each["id"], env=env).out
        assert f"identity  ap-southeast-3/{sandbox.PROJECT_ID}: {WHOM}" in shown
    surplus.give("finance-analysts", SPARE)  # type: ignore[arg-type]
    assert f"Acting as {WHOM}." in run("apply", "--auto-approve", path, env=env).out
    assert sandbox.ACCESS_KEY not in planned.out + planned.err + applied.out + applied.err


def test_a_saved_plan_keeps_who_made_it_and_is_applied_by_another_identity(
    run: Run, surplus: Served, tmp_path: Path
) -> None:
    """Planning and applying have identities of their own; the decision is the same."""
    saved = tmp_path / "plan.json"
    run("plan", "--out", str(saved), str(manifest(tmp_path, [FINANCE])), env=surplus.env)
    assert f"Acting as {WHOM}." in run("show", str(saved)).out
    env = surplus.env | {
        "HW_ASSUME_ROLE_AGENCY_NAME": sandbox.AGENCY,
        "HW_ASSUME_ROLE_DOMAIN_NAME": "sandbox",
    }
    ran = run("apply", "--auto-approve", str(saved), env=env)
    assert ran.code == 0, ran.err
    assert f"Acting as agency {sandbox.AGENCY} of sandbox with access key SAND…0001" in ran.out


# --- identities that the sandbox plays ----------------------------------------------------------


def token(life: float) -> str:
    """What an identity provider gives out; nobody here checks its signature."""
    payload = base64.urlsafe_b64encode(json.dumps({"exp": TIME.time() + life}).encode()).decode().rstrip("=")
    return f"e30.{payload}.c2ln"


def test_an_agency_applies_with_temporary_keys(run: Run, surplus: Served, tmp_path: Path) -> None:
    env = surplus.env | {
        "HW_ASSUME_ROLE_AGENCY_NAME": sandbox.AGENCY,
        "HW_ASSUME_ROLE_DOMAIN_NAME": "sandbox",
    }
    ran = run("apply", "--auto-approve", str(manifest(tmp_path, [FINANCE])), env=env)
    assert ran.code == 0, ran.err
    assert len(surplus.posts()) == 1


def test_a_token_of_a_provider_applies_and_its_keys_also_list_the_projects(
    run: Run, surplus: Served, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(token(300))
    env = {
        "RECONCILER_ENDPOINT": surplus.url,
        "RECONCILER_IAM_ENDPOINT": surplus.url,
        "RECONCILER_STS_ENDPOINT": surplus.url,
        "HUAWEICLOUD_OIDC_PROVIDER_URN": "iam::x:oidc-provider:github",
        "HUAWEICLOUD_OIDC_AGENCY_URN": agency_urn(surplus.world()["accounts"][0]),
        "HUAWEICLOUD_OIDC_TOKEN_FILE": str(file),
    }
    ran = run("apply", "--auto-approve", str(manifest(tmp_path, [FINANCE])), env=env)
    assert ran.code == 0, ran.err
    assert len(surplus.posts()) == 1


def test_a_token_that_has_ended_buys_nothing(run: Run, surplus: Served, tmp_path: Path) -> None:
    env = surplus.env | {
        "RECONCILER_STS_ENDPOINT": surplus.url,
        "HUAWEICLOUD_OIDC_PROVIDER_URN": "iam::x:oidc-provider:github",
        "HUAWEICLOUD_OIDC_AGENCY_URN": agency_urn(surplus.world()["accounts"][0]),
        "HUAWEICLOUD_OIDC_ID_TOKEN": token(-1),
    }
    ran = run("apply", "--auto-approve", str(manifest(tmp_path, [FINANCE])), env=env)
    assert ran.code == 1
    assert ran.err.count("the id token is expired") == 1
    assert f"this concerns the target ap-southeast-3/{sandbox.PROJECT_ID}" in ran.err
    assert env["HUAWEICLOUD_OIDC_ID_TOKEN"] not in ran.err + ran.out
    assert not surplus.posts()


def test_a_job_that_outlasts_the_keys_is_followed_with_new_ones(run: Run, tmp_path: Path) -> None:
    with serving(sandbox.default_world(), job_seconds=1800) as served:
        served.give("finance-analysts", SPARE)  # type: ignore[arg-type]
        env = served.env | {
            "HW_ASSUME_ROLE_AGENCY_NAME": sandbox.AGENCY,
            "HW_ASSUME_ROLE_DOMAIN_NAME": "sandbox",
            "HW_ASSUME_ROLE_DURATION": "900",
        }
        path = str(manifest(tmp_path, [FINANCE]))
        ran = run("apply", "--auto-approve", "--wait-timeout", "1h", path, env=env)
        assert ran.code == 0, ran.err
        assert len(served.posts()) == 1


def test_when_a_token_ends_and_keys_cannot_be_renewed_no_further_pool_is_touched(
    run: Run, tmp_path: Path
) -> None:
    with serving(sandbox.default_world(), job_seconds=600) as served:
        served.give("finance-analysts", SPARE)  # type: ignore[arg-type]
        served.give("design-studio", SPARE | {"id": "other"})  # type: ignore[arg-type]
        env = served.env | {
            "RECONCILER_STS_ENDPOINT": served.url,
            "HUAWEICLOUD_OIDC_PROVIDER_URN": "iam::x:oidc-provider:github",
            "HUAWEICLOUD_OIDC_AGENCY_URN": agency_urn(served.world()["accounts"][0]),
            "HUAWEICLOUD_OIDC_ID_TOKEN": token(60),
            "HUAWEICLOUD_OIDC_DURATION_SECONDS": "900",
        }
        path = str(manifest(tmp_path, [FINANCE, STUDIO]))
        ran = run("apply", "--auto-approve", "--parallelism", "1", "--keep-going", path, env=env)
        assert ran.code == 1, ran.out + ran.err
        assert "the id token is expired" in ran.out
        # The first one was followed to its end with the old keys; the second one was not begun.
        assert len(served.posts()) == 1
        assert "  done " in ran.out


def test_a_plan_for_a_project_that_is_not_confirmed_says_so_to_its_reviewers(
    run: Run, surplus: Served, tmp_path: Path
) -> None:
    path, env = manifest(tmp_path, [FINANCE]), denied(surplus)
    files = {form: tmp_path / f"plan.{form}" for form in ("markdown", "html", "json")}
    outputs = [word for form, file in files.items() for word in (f"--out-{form}", str(file))]
    planned = run("plan", str(path), "--out", str(tmp_path / "saved"), *outputs, env=env)
    assert planned.code == 0
    for text in (planned.out, *(file.read_text() for file in files.values())):
        assert "project-not-confirmed" in text
        assert "could not be confirmed as one of" in text
    [finding] = json.loads(files["json"].read_text())["findings"]
    assert (finding["severity"], finding["source"]) == ("warn", f"{path}:2:9")
    # It is a note about the run that planned, so the plan itself holds for one that can confirm the project.
    applied = run("apply", str(tmp_path / "saved"), "--auto-approve", env=surplus.env)
    assert applied.code == 0, applied.err


def test_a_plan_for_a_project_of_somebody_else_says_so_to_its_reviewers(
    run: Run, served: Served, tmp_path: Path
) -> None:
    path = manifest(tmp_path, [FINANCE])
    served.world()["projects"][sandbox.PROJECT_ID]["region"] = "cn-north-1"
    planned = run("plan", str(path), "--format", "markdown", env=without_project(served))
    assert "is 'cn-north-1', which is in another region; a run that writes is refused" in planned.out.replace(
        "`", ""
    )
