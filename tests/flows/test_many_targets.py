"""Several projects, regions and accounts in one run: each has its own credentials, service and failures."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from reconciler import sandbox
from reconciler.sandbox.world import World
from tests.flows.conftest import FINANCE, Run
from tests.flows.inside import Ran
from tests.flows.serving import Served, serving

NORTH, SOUTH = "eu-west-101", "ap-southeast-3"
NORTH_PROJECT, SOUTH_PROJECT = "a" * 32, sandbox.PROJECT_ID


@pytest.fixture
def north() -> Iterator[Served]:
    """A service in another region, of another account."""
    with serving(another_world()) as found:
        yield found


def another_world() -> World:
    """The default world in another region and project, behind other keys."""
    world = sandbox.default_world()
    project = world["projects"].pop(sandbox.PROJECT_ID)
    project["id"], project["region"] = NORTH_PROJECT, NORTH
    world["projects"][NORTH_PROJECT] = project
    world["accounts"][0].update(
        {"access_key": "NORTHKEY", "secret_key": "north-secret", "projects": [NORTH_PROJECT]}
    )
    world["name"] = "north"
    return world


def settings(folder: Path, north: str, south: str) -> dict[str, str]:
    """One section of credentials and one endpoint for each target."""
    credentials = folder / "credentials"
    credentials.write_text(
        f"[north]\nak = NORTHKEY\nsk = north-secret\nproject_id = {NORTH_PROJECT}\n"
        f"[south]\nak = {sandbox.ACCESS_KEY}\nsk = {sandbox.SECRET_KEY}\nproject_id = {SOUTH_PROJECT}\n"
    )
    return {
        "HUAWEICLOUD_SDK_CREDENTIALS_FILE": str(credentials),
        "RECONCILER_ENDPOINT_EU_WEST_101": north,
        "HUAWEICLOUD_SDK_REGION_WORKSPACE_AP_SOUTHEAST_3": south,
    }


def manifests(folder: Path) -> str:
    """The same pool with a surplus disk in both targets, a file each."""
    made = folder / "manifests"
    made.mkdir()
    for name, region, project in (("north", NORTH, NORTH_PROJECT), ("south", SOUTH, SOUTH_PROJECT)):
        target = f"target: {{region: {region}, project_id: {project}, profile: {name}}}"
        (made / f"{name}.yaml").write_text(f"version: 1\n{target}\npools:\n  - {FINANCE}\n")
    return str(made)


def planned(run: Run, paths: str, env: Mapping[str, str]) -> tuple[Ran, dict[str, object]]:
    ran = run("plan", paths, "--format", "json", env=env)
    return ran, json.loads(ran.out)


def test_one_run_plans_and_applies_every_target_with_totals_over_all(
    run: Run, served: Served, north: Served, tmp_path: Path
) -> None:
    env = settings(tmp_path, north.url, served.url)
    paths = manifests(tmp_path)
    text = run("plan", paths, env=env)
    assert text.code == 0, text.err
    assert "Plan: 0 to add, 0 to change, 2 to destroy." in text.out
    assert "SANDBOX (north)" in text.out
    assert run("apply", paths, "--auto-approve", env=env).code == 0
    for service in (north, served):
        assert len(service.posts()) == 1
    assert (
        "No changes. Your infrastructure matches the configuration. 2 pools checked."
        in run("plan", paths, env=env).out
    )


def test_limits_hold_over_all_targets_together(
    run: Run, served: Served, north: Served, tmp_path: Path
) -> None:
    env = settings(tmp_path, north.url, served.url)
    refused = run("apply", manifests(tmp_path), "--auto-approve", "--limit-disks", "1", env=env)
    assert refused.code == 3
    assert "limit-disks: 2 disks would be destroyed; the limit is 1" in refused.out
    assert north.posts() == served.posts() == []


def test_a_target_that_cannot_be_read_is_told_and_does_not_stop_the_others(
    run: Run, served: Served, north: Served, tmp_path: Path
) -> None:
    env = settings(tmp_path, "http://127.0.0.1:9", served.url)
    paths = manifests(tmp_path)
    ran, plan = planned(run, paths, env)
    assert ran.code == 1
    assert plan["summary"] == {"add": 0, "change": 0, "destroy": 1}
    assert f"target {NORTH}/{NORTH_PROJECT} could not be planned" in ran.err
    applied = run("apply", paths, "--auto-approve", env=env)
    assert applied.code == 1
    assert (len(served.posts()), north.posts()) == (1, [])
    again = run("apply", paths, "--auto-approve", env=settings(tmp_path, north.url, served.url))
    assert again.code == 0, again.err
    assert (len(served.posts()), len(north.posts())) == (1, 1)


def test_a_target_whose_keys_are_refused_does_not_stop_the_others(
    run: Run, served: Served, north: Served, tmp_path: Path
) -> None:
    north.world()["accounts"][0]["secret_key"] = "another"
    ran, plan = planned(run, manifests(tmp_path), settings(tmp_path, north.url, served.url))
    assert ran.code == 1
    assert plan["summary"] == {"add": 0, "change": 0, "destroy": 1}


def test_credentials_of_another_project_stop_everything_before_anything_is_read(
    run: Run, served: Served, north: Served, tmp_path: Path
) -> None:
    paths = manifests(tmp_path)
    env = settings(tmp_path, north.url, served.url)
    credentials = Path(env["HUAWEICLOUD_SDK_CREDENTIALS_FILE"])
    credentials.write_text(credentials.read_text().replace(NORTH_PROJECT, "b" * 32))
    ran = run("plan", paths, env=env)
    assert ran.code == 9
    assert f"the manifest is for project {NORTH_PROJECT}" in ran.err


def test_open_operations_are_looked_at_with_the_credentials_that_profile_names(
    run: Run, served: Served, north: Served, tmp_path: Path
) -> None:
    env = settings(tmp_path, north.url, served.url)
    assert run("apply", manifests(tmp_path), "--auto-approve", "--no-wait", env=env).code == 8
    for name, region, project in (("north", NORTH, NORTH_PROJECT), ("south", SOUTH, SOUTH_PROJECT)):
        one = ["resolve", "--region", region, "--project-id", project]
        assert run(*one, env=env).code == 9
        found = run(*one, "--profile", name, env=env)
        assert found.code == 0, found.err
        assert "finance-analysts: resolving operation" in found.err


def test_the_resolve_that_is_printed_names_the_profile_of_the_manifests(
    run: Run, served: Served, north: Served, tmp_path: Path
) -> None:
    env = settings(tmp_path, north.url, served.url)
    one, journal = f"{manifests(tmp_path)}/south.yaml", ("--journal", f"sqlite:///{tmp_path}/j.db")
    line: list[str] = []
    for command in ("apply", "plan", "drift"):
        ran = run(
            command, *journal, one, *["--auto-approve", "--no-wait"][: 2 * (command == "apply")], env=env
        )
        found = re.search(r"reconciler (resolve( --\w+ [^\s',]+)+)", ran.out + ran.err)
        line = shlex.split(found[1]) if found else []
        assert line == ["resolve", *journal, "--profile", "south"], command
    resolved = run(*line, env=env)
    assert resolved.code == 0, resolved.err
    assert "finance-analysts: resolving operation" in resolved.err


def test_one_project_under_two_profiles_is_refused_naming_both_places(run: Run, tmp_path: Path) -> None:
    paths = manifests(tmp_path)
    north = Path(paths) / "north.yaml"
    south = (Path(paths) / "south.yaml").read_text().replace("profile: south", "profile: north")
    north.write_text(south.replace("finance-analysts", "design-studio"))
    ran = run("validate", paths)
    assert ran.code == 9
    assert "south.yaml" in ran.err
    assert "north.yaml" in ran.err


def test_an_endpoint_of_one_region_that_is_no_address_is_named(run: Run, tmp_path: Path) -> None:
    ran = run("plan", manifests(tmp_path), env=settings(tmp_path, "ftp://x", "http://127.0.0.1:9"))
    assert ran.code == 9
    assert "RECONCILER_ENDPOINT_EU_WEST_101 is not an address" in ran.err


def test_open_operations_of_a_project_without_credentials_do_not_stop_the_others(
    run: Run, served: Served, north: Served, tmp_path: Path
) -> None:
    env = settings(tmp_path, north.url, served.url)
    assert run("apply", manifests(tmp_path), "--auto-approve", "--no-wait", env=env).code == 8
    keys = {"HUAWEICLOUD_SDK_AK": sandbox.ACCESS_KEY, "HUAWEICLOUD_SDK_SK": sandbox.SECRET_KEY}
    looked = run("resolve", env=env | keys | {"HUAWEICLOUD_SDK_PROJECT_ID": SOUTH_PROJECT})
    assert looked.code == 9
    assert f"the credentials (HUAWEICLOUD_SDK_AK) are for project {SOUTH_PROJECT}" in looked.err
    assert "resolved: done" in looked.out


def test_a_saved_plan_tells_again_which_target_it_is_without(
    run: Run, served: Served, north: Served, tmp_path: Path
) -> None:
    saved = str(tmp_path / "plan.bin")
    down = settings(tmp_path, "http://127.0.0.1:1", served.url)
    assert run("plan", manifests(tmp_path), "--out", saved, env=down).code == 1
    up = settings(tmp_path, north.url, served.url)
    served.pool("finance-analysts")["name"] = "renamed"
    stale = run("apply", saved, env=up)
    assert (stale.code, "differs from what would be done now" in stale.err) == (4, True)
    served.pool("renamed")["name"] = "finance-analysts"
    applied = run("apply", saved, env=up)
    assert applied.code == 1
    assert (len(served.posts()), len(north.posts())) == (1, 0)
