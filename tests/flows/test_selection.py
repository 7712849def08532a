"""``--pool`` and ``--exclude``: only these of the declared pools, in plans, applies, drift and what is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.sandbox import seed
from reconciler.sandbox.world import World
from tests.flows.conftest import Run, manifest
from tests.flows.serving import Served, serving

NAMES = ("finance-east", "finance-west", "research")


def pools(*names: str, disks: str = "{type: SSD, size: 100}") -> list[str]:
    return [f"{{name: {name}, apply_to: all, disks: [{disks}]}}" for name in names]


def world() -> World:
    """Three pools, each with one surplus disk."""
    return seed.world("selection", [seed.pool(each, [("SSD", 100), ("SAS", 50)], 2, 1) for each in NAMES])


def planned(run: Run, served: Served, *arguments: str) -> tuple[list[str], str]:
    """The pools and the digest of a plan."""
    found = json.loads(run("plan", *arguments, "--format", "json", env=served.env).out)
    return sorted(each["name"] for each in found["pools"]), found["digest"]


def sent(served: Served) -> list[str]:
    """The pools of the writes that the service accepted."""
    by_id = {served.pool(each)["id"]: each for each in NAMES}
    return sorted(name for entry in served.posts() for pool, name in by_id.items() if pool in str(entry))


@pytest.mark.parametrize(
    ("flags", "chosen"),
    [
        (["--pool", "research"], ["research"]),
        (["--pool", "finance-*"], ["finance-east", "finance-west"]),
        (["--pool", "research", "--pool", "*-east"], ["finance-east", "research"]),
        (["--exclude", "finance-?ast"], ["finance-west", "research"]),
        (["--pool", "finance-*", "--exclude", "*west"], ["finance-east"]),
    ],
)
def test_only_the_selected_pools_are_planned_and_only_they_are_changed(
    run: Run, tmp_path: Path, flags: list[str], chosen: list[str]
) -> None:
    with serving(world()) as served:
        path = str(manifest(tmp_path, pools(*NAMES)))
        assert planned(run, served, path, *flags)[0] == chosen
        drift = json.loads(run("drift", path, *flags, "--format", "json", env=served.env).out)
        assert sorted(each["pool"] for each in drift["pools"]) == chosen
        watched = run("watch", "--once", path, *flags, env=served.env)
        assert (watched.code, f"Drift in {len(chosen)} of {len(chosen)}" in watched.out) == (2, True)
        applied = run("apply", path, *flags, "--auto-approve", env=served.env)
        assert (applied.code, sent(served)) == (0, chosen), applied.err
        assert f"Selected {len(chosen)} of 3 declared pools" in applied.err


def test_a_pool_is_selected_by_its_declared_id(run: Run, tmp_path: Path) -> None:
    with serving(world()) as served:
        ids = [served.pool(each)["id"] for each in NAMES]
        entries = [f"{{id: {each}, apply_to: all, disks: [{{type: SSD, size: 100}}]}}" for each in ids]
        path = str(manifest(tmp_path, entries))
        found = json.loads(run("plan", path, "--pool", ids[1], "--format", "json", env=served.env).out)
        assert [
            each["pool_id"] for each in found["resource_changes"] if each["change"]["actions"] == ["delete"]
        ] == [ids[1]]


@pytest.mark.parametrize("command", ["plan", "apply", "drift", "watch"])
@pytest.mark.parametrize("flag", ["--pool", "--exclude"])
def test_a_name_that_no_manifest_declares_is_refused_with_the_nearest_ones(
    run: Run, tmp_path: Path, command: str, flag: str
) -> None:
    path = str(manifest(tmp_path, pools(*NAMES)))
    refused = run(command, path, "--sandbox", flag, "research", flag, "finance-wets")
    assert refused.code == 9
    assert (
        f"{flag} 'finance-wets' fits no declared pool; the nearest: 'finance-west', 'finance-east'"
        in refused.err
    )
    assert "'research' fits" not in refused.err


def test_a_selection_that_leaves_nothing_is_refused(run: Run, tmp_path: Path) -> None:
    path = str(manifest(tmp_path, pools(*NAMES)))
    refused = run("plan", path, "--sandbox", "--pool", "research", "--exclude", "r*")
    assert (refused.code, "leaves no pool" in refused.err) == (9, True)


def test_a_plan_file_holds_the_selected_pools_alone_and_takes_no_selection(run: Run, tmp_path: Path) -> None:
    with serving(world()) as served:
        path, plan = str(manifest(tmp_path, pools(*NAMES))), str(tmp_path / "plan.bin")
        told = run("plan", path, "--pool", "research", "--out", plan, env=served.env)
        assert f"apply exactly this with: reconciler apply {plan}\n" in told.err
        for flag in ("--pool", "--exclude"):
            refused = run("apply", plan, flag, "research", "--auto-approve", env=served.env)
            assert (refused.code, "has its own pools" in refused.err) == (9, True)
        assert run("apply", plan, env=served.env).code == 0
        assert sent(served) == ["research"]


@pytest.mark.parametrize("form", ["text", "markdown", "html"])
def test_every_form_of_a_plan_says_that_pools_are_left_out_and_its_command_repeats_the_selection(
    run: Run, tmp_path: Path, form: str
) -> None:
    with serving(world()) as served:
        path, plan = str(manifest(tmp_path, pools(*NAMES))), str(tmp_path / "plan.bin")
        flags = ("--pool", "finance-*", "--exclude", "*west", "--out", plan)
        told = run("plan", path, *flags, "--format", form, env=served.env)
        again = run("show", plan, "--format", form)
        for page in (told.out, again.out):
            assert "2 declared pools are left out" in page
            if form != "text":
                quoted = page.replace("&#39;", "'")
                assert f"--pool='finance-*' --exclude='*west' {path} --approve" in quoted


def test_the_digest_is_that_of_what_is_planned(run: Run, tmp_path: Path) -> None:
    with serving(world()) as served:
        whole, alone = (
            manifest(tmp_path, pools(*NAMES)),
            manifest(tmp_path, pools("research"), name="alone.yaml"),
        )
        digest = planned(run, served, str(whole), "--pool", "research")[1]
        assert digest == planned(run, served, str(alone))[1] != planned(run, served, str(whole))[1]
        refused = run("apply", str(whole), "--approve", digest, env=served.env)
        assert (refused.code, sent(served)) == (4, [])
        applied = run("apply", str(whole), "--pool", "research", "--approve", digest, env=served.env)
        assert (applied.code, sent(served)) == (0, ["research"])


def test_limits_of_the_manifests_hold_over_what_is_selected(run: Run, tmp_path: Path) -> None:
    with serving(world()) as served:
        path = str(manifest(tmp_path, pools(*NAMES), "limits: {disks: 1}"))
        refused = run("apply", path, "--pool", "finance-*", "--auto-approve", env=served.env)
        assert (refused.code, "limit-disks: 2 disks would be destroyed; the limit is 1" in refused.out) == (
            3,
            True,
        )
        assert run("apply", path, "--pool", "research", "--auto-approve", env=served.env).code == 0
        assert sent(served) == ["research"]


def test_an_entry_that_is_not_selected_still_makes_its_pool_declared_twice(run: Run, tmp_path: Path) -> None:
    with serving(world()) as served:
        by_id = f"{{id: {served.pool('research')['id']}, disks: [{{type: SSD, size: 100}}]}}"
        path = str(manifest(tmp_path, [*pools("research"), by_id]))
        refused = run("apply", path, "--pool", "research", "--auto-approve", env=served.env)
        assert (refused.code, "pool-declared-twice" in refused.out, sent(served)) == (3, True, [])


def test_a_pool_that_is_not_selected_is_still_managed(run: Run, tmp_path: Path) -> None:
    with serving(world()) as served:
        path = str(manifest(tmp_path, pools(*NAMES)))
        assert run("apply", path, "--pool", "research", "--auto-approve", env=served.env).code == 0
        assert "no longer managed" not in run("plan", path, "--exclude", "research", env=served.env).out
