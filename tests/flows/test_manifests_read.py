"""What a command says of the manifests it read, and that none is left out in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler import sandbox
from tests.flows.conftest import CALLS, STUDIO, Run, manifest
from tests.flows.serving import Served

HEAD = f"version: 1\ntarget: {{region: {sandbox.REGION}, project_id: {sandbox.PROJECT_ID}}}\n"


def linked(folder: Path) -> Path:
    """``envs/prod`` with a pool that loses two disks, and the limits of the run behind a linked folder."""
    (folder / "common").mkdir()
    (folder / "common" / "limits.yaml").write_text(f"{HEAD}limits: {{disks: 1, users: 100}}\n")
    prod = folder / "envs" / "prod"
    prod.mkdir(parents=True)
    two_go = "{name: finance-analysts, apply_to: all, disks: [{type: SSD, size: 100}]}"
    manifest(prod, [two_go], name="finance.yaml")
    manifest(prod, [STUDIO], name="studio.yaml")
    (prod / "common").symlink_to("../../common")
    return prod


@pytest.mark.parametrize("command", ["plan", "drift", "apply", "explain", "validate", "watch"])
def test_limits_behind_a_link_that_leaves_the_folder_are_never_lost_in_silence(
    run: Run, served: Served, tmp_path: Path, command: str
) -> None:
    pool = ["finance-analysts"] if command == "explain" else []
    refused = run(command, *pool, str(linked(tmp_path)), env=served.env)
    assert refused.code == 9
    assert "envs/prod/common: a link that leaves the given folder" in refused.err
    assert served.posts() == []


def test_limits_behind_a_link_hold_once_it_may_be_followed(run: Run, served: Served, tmp_path: Path) -> None:
    prod = linked(tmp_path)
    for arguments in (["--follow-symlinks", str(prod)], [str(tmp_path)]):
        validated = run("validate", *arguments)
        assert validated.code == 0, validated.err
        applied = run("apply", "--auto-approve", *arguments, env=served.env)
        assert applied.code == 3, applied.out + applied.err
        assert "limit-disks" in applied.out
        assert "Read 3 files, 2 pools and 2 limits from " in applied.err
    assert served.posts() == []


def test_how_much_was_read_and_from_where_is_one_line_on_stderr(
    run: Run, served: Served, tmp_path: Path
) -> None:
    (tmp_path / "prod").mkdir()
    manifest(tmp_path / "prod", [STUDIO, CALLS], head="limits: {disks: 3}")
    (tmp_path / "other.yaml").write_text(f"{HEAD}limits: {{copies: 9}}\n")
    line = "Read 2 files, 2 pools and 2 limits from prod and other.yaml.\n"
    for command in ("plan", "drift", "apply"):
        ran = run(command, "prod", "other.yaml", env=served.env)
        assert (ran.err.count(line), "Read 2" in ran.out) == (1, False), ran.err
    assert "Read 1 file, 2 pools and 1 limit from prod.\n" in run("plan", "prod", env=served.env).err
    assert "2 limits from the current folder.\n" in run("plan", ".", env=served.env).err
    for name in ("a.yaml", "b.yaml", "c.yaml"):
        (tmp_path / name).write_text(f"{HEAD}limits: {{copies: 9}}\n")
    many = run("plan", "prod", "other.yaml", "a.yaml", "b.yaml", "c.yaml", env=served.env)
    assert "from prod, other.yaml, a.yaml and 2 more places.\n" in many.err


def test_limits_alone_validate_and_cannot_be_planned(run: Run, served: Served, tmp_path: Path) -> None:
    (tmp_path / "limits.yaml").write_text(f"{HEAD}limits: {{disks: 1}}\n")
    validated = run("validate", str(tmp_path))
    assert (validated.code, validated.out) == (0, "Valid: 0 pools in 1 file, 0 targets.\n")
    assert "0 pools and 1 limit from" in validated.err
    for command in ("plan", "drift", "apply"):
        refused = run(command, str(tmp_path), env=served.env)
        assert (refused.code, "no file declares a pool" in refused.err) == (9, True)


def test_a_yaml_file_of_something_else_is_named_and_left_out(
    run: Run, served: Served, tmp_path: Path
) -> None:
    manifest(tmp_path, [STUDIO])
    (tmp_path / "cron.yaml").write_text("apiVersion: batch/v1\nkind: CronJob\nspec: &x {a: 1.5}\n")
    line = "Left out: cron.yaml is no manifest (it has kind or apiVersion at its root).\n"
    for command in ("plan", "drift", "validate"):
        ran = run(command, "cron.yaml", "pools.yaml", env=served.env)
        assert ran.code in (0, 2), ran.err
        assert ran.err.count(line) == 1
        assert ("Read 1 file, 1 pool" in ran.err) == (command != "validate")
    alone = run("plan", "cron.yaml", env=served.env)
    assert alone.code == 9
    assert "no file declares a pool" in alone.err
    assert line.strip() in alone.err


def test_an_ignored_file_is_said_by_name(run: Run, served: Served, tmp_path: Path) -> None:
    manifest(tmp_path, [STUDIO])
    (tmp_path / "compose.yaml").write_text("services: {}\n")
    (tmp_path / ".reconcilerignore").write_text("compose.yaml\nnothing.yaml\n")
    planned = run("plan", str(tmp_path), env=served.env)
    assert planned.code == 0
    assert ".reconcilerignore: compose.yaml.\n" in planned.err
    assert "the pattern 'nothing.yaml' matches nothing.\n" in planned.err


def test_a_pool_that_is_not_found_suggests_the_nearest_live_name(
    run: Run, served: Served, tmp_path: Path
) -> None:
    path = manifest(tmp_path, [STUDIO.replace("design-studio", "desing-studio")])
    planned = run("plan", str(path), env=served.env)
    assert planned.code == 3
    said = " ".join(planned.out.split())
    assert "no pool has the name 'desing-studio'; did you mean 'design-studio'?" in said
    assert served.posts() == []
