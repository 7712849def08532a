"""The first hour: a plan without a path, the way from it to an apply, and narrow screens."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import termios
from pathlib import Path

import pytest

from tests.flows import started
from tests.flows.conftest import CALLS, FINANCE, Run, bare, manifest


def test_a_plan_without_a_path_reads_the_folder_manifests_or_what_the_setting_names(
    run: Run, tmp_path: Path
) -> None:
    nothing = run("plan", "--sandbox")
    assert (nothing.code, "RECONCILER_PATHS" in nothing.err) == (9, True)
    (tmp_path / "manifests").mkdir()
    manifest(tmp_path, [FINANCE], name="manifests/pools.yaml")
    assert "from manifests." in run("plan", "--sandbox").err
    one, two = manifest(tmp_path, [CALLS], name="a.yaml"), manifest(tmp_path, [FINANCE], name="b.yaml")
    named = run("plan", "--sandbox", env={"RECONCILER_PATHS": f"{one}{os.pathsep}{two}"})
    assert f"Read 2 files, 2 pools and 0 limits from {one} and {two}." in named.err
    assert run("plan", "--sandbox", str(one), env={"RECONCILER_PATHS": "missing"}).code == 0
    assert run("plan", "--sandbox", env={"RECONCILER_PATHS": " "}).code == 9


def test_an_apply_without_a_path_takes_the_same_manifests_where_somebody_has_seen_the_plan(
    run: Run, tmp_path: Path
) -> None:
    path, other = (
        manifest(tmp_path, [FINANCE]),
        manifest(tmp_path, [FINANCE], "limits: {disks: 7}", "other.yaml"),
    )
    digest = json.loads(run("plan", "--sandbox", str(path), "--out", "saved", "--format", "json").out)[
        "digest"
    ]
    for named, more in (
        # Nobody has seen what would go: a variable left behind must not decide that.
        (path, ["--auto-approve"]),
        (path, ["--auto-approve", "--approve", digest]),
        (path, ["--mark"]),
        (path, []),
        # Whoever applies a saved plan names it.
        (Path("saved"), ["--approve", digest]),
    ):
        refused = run("apply", "--sandbox", *more, env={"RECONCILER_PATHS": str(named)})
        assert (refused.code, refused.out) == (9, ""), more
    assert "needs somebody who sees the plan" in run("apply", "--sandbox", "--auto-approve").err
    reviewed = ("apply", "--sandbox", "--approve", digest)
    assert run(*reviewed, env={"RECONCILER_PATHS": str(other)}).code == 4
    assert json.loads(run("sandbox", "state").out)["record"] == []
    assert json.loads(run("history", "--sandbox", "--format", "json").out)["runs"][0]["exit_code"] == 4
    done = run(*reviewed, env={"RECONCILER_PATHS": str(path)})
    assert (done.code, f"from {path}." in done.err) == (0, True)
    assert len(json.loads(run("sandbox", "state").out)["record"]) == 1


def test_a_plan_says_how_exactly_it_is_applied(run: Run, tmp_path: Path) -> None:
    path = manifest(tmp_path, [FINANCE])
    planned = run("plan", "--sandbox", str(path))
    [line] = [each for each in planned.out.splitlines() if "Apply exactly this with: " in each]
    words = line.split("Apply exactly this with: reconciler ")[1].split()
    assert words[:2] == ["apply", "--sandbox"]
    assert run(*words).code == 0
    assert "Apply exactly" not in run("plan", "--sandbox", str(path)).out


def test_nothing_that_is_blocked_is_said_to_be_applicable(run: Run, tmp_path: Path) -> None:
    path = manifest(tmp_path, [FINANCE], "limits: {disks: 0}")
    blocked = run("plan", "--sandbox", str(path))
    assert (blocked.code, "Apply exactly" in blocked.out) == (3, False)


def test_a_run_is_shown_by_how_its_id_begins(run: Run, tmp_path: Path) -> None:
    path = str(manifest(tmp_path, [FINANCE]))
    for _ in range(2):
        run("drift", "--sandbox", path)
    ids = [each["id"] for each in json.loads(run("history", "--sandbox", "--format", "json").out)["runs"]]
    shown = run("history", "show", ids[0][:12], "--sandbox")
    assert (shown.code, f"Run {ids[0]}: drift" in shown.out) == (0, True)
    assert run("history", "show", ids[0], "--sandbox").code == 0
    for wrong in ("no-such-run", ids[0][:3]):
        assert run("history", "show", wrong, "--sandbox").code == 9


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize("command", [["plan"], ["explain", "finance-analysts"]])
def test_a_narrow_terminal_cuts_no_word(tmp_path: Path, columns: int, command: list[str]) -> None:
    path = manifest(tmp_path, [FINANCE])
    env = bare(tmp_path) | {"TERM": "dumb"}
    piped = subprocess.run(
        [*started.command(), *command, "--sandbox", str(path)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    screen = on_terminal([*started.command(), *command, "--sandbox", str(path)], env, columns)
    # Each word of the piped form stands whole in a line: the terminal itself would break one anywhere.
    shown = set(screen.split())
    assert [word for word in piped.stdout.split() if word not in shown] == []
    prose = [line for line in screen.splitlines() if " " in line.strip() and "reconciler " not in line]
    assert [line for line in prose if len(line) > columns and len(line.split()) > 2] == []


def on_terminal(arguments: list[str], env: dict[str, str], columns: int) -> str:
    """What a command prints on a terminal of this width."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    process = subprocess.Popen(arguments, env=env, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL)
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        if not part:
            break
        parts.append(part)
    process.wait()
    os.close(ours)
    return b"".join(parts).decode().replace("\r\n", "\n")


@pytest.mark.parametrize("command", [[], ["plan"], ["doctor"], ["sandbox", "serve"]])
def test_the_short_flag_of_help_is_understood_by_every_command(run: Run, command: list[str]) -> None:
    short, long = run(*command, "-h"), run(*command, "--help")
    assert (short.code, short.out) == (0, long.out)
    assert "Usage: reconciler" in short.out


@pytest.mark.parametrize(
    ("env", "coloured"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"CLICOLOR_FORCE": "1"}, True),
        ({"FORCE_COLOR": "0"}, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": ""}, True),
    ],
)
def test_colour_without_a_terminal_is_a_wish(
    run: Run, tmp_path: Path, env: dict[str, str], coloured: bool
) -> None:
    shown = run("plan", "--sandbox", str(manifest(tmp_path, [FINANCE])), env=env)
    assert ("\x1b[" in shown.out) is coloured
