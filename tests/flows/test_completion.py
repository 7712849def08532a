"""Completion in real shells: commands, flags, and the pools that manifests declare; never a message, never a call."""

from __future__ import annotations

import os
import pty
import select
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests import needs
from tests.flows import started
from tests.flows.conftest import CALLS, FINANCE, STUDIO, Run, bare, manifest
from tests.flows.inside import Ran


def completed(run: Run, line: str, **env: str) -> list[str]:
    """What bash is offered for the last word of a line; the names of files it finds itself."""
    words = line.split(" ")
    asked = {"_RECONCILER_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    ran: Ran = run(env=asked | env)
    assert ran.err == ""
    return [each.removeprefix("plain,") for each in ran.out.splitlines() if each]


def environment(folder: Path, programs: Path | None = None) -> dict[str, str]:
    """That of a person who has the program in the PATH, or one that forks it."""
    if programs is None:
        programs = folder / "bin"
        programs.mkdir()
        program = programs / "reconciler"
        program.write_text(f'#!/bin/sh\nexec {shlex.join(started.command())} "$@"\n')
        program.chmod(0o755)
    return bare(folder) | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture
def pools(tmp_path: Path) -> Path:
    """A folder of manifests where commands look for it."""
    (tmp_path / "manifests").mkdir()
    return manifest(tmp_path, [FINANCE, STUDIO, CALLS], name="manifests/pools.yaml")


def test_commands_and_flags_are_completed(run: Run) -> None:
    assert completed(run, "reconciler pl") == ["plan"]
    assert {"history", "resolve", "--help"} & set(completed(run, "reconciler ")) == {"history", "resolve"}
    assert completed(run, "reconciler plan --follow") == ["--follow-symlinks"]
    assert completed(run, "reconciler drift --format ") == ["text", "json"]
    assert completed(run, "reconciler no-such-command --po") == []
    assert completed(run, "reconciler sandbox ") == ["serve", "reset", "state"]
    assert completed(run, "reconciler init sys") == ["systemd"]


@pytest.mark.parametrize("line", ["plan man", "apply --policy = man"])
def test_names_of_files_are_left_to_the_shell(run: Run, line: str) -> None:
    assert completed(run, f"reconciler {line}") == ["file,man"]


@pytest.mark.parametrize("asked", ["bash_source", "complete_bash"])
def test_what_no_script_asks_for_gets_no_answer(run: Run, asked: str) -> None:
    ran = run(env={"_RECONCILER_COMPLETE": asked, "COMP_WORDS": "reconciler pl", "COMP_CWORD": "1"})
    assert (ran.code, ran.out, ran.err) == (1, "", "")


@pytest.mark.parametrize("flag", ["--pool", "--exclude"])
@pytest.mark.parametrize("command", ["plan", "apply", "drift", "watch"])
def test_pools_are_those_of_the_manifests(run: Run, pools: Path, command: str, flag: str) -> None:
    assert completed(run, f"reconciler {command} {flag} ") == [
        "call-centre",
        "design-studio",
        "finance-analysts",
    ]
    assert completed(run, f"reconciler {command} {flag} = de") == ["design-studio"]  # as bash parts it


@pytest.mark.parametrize(
    ("shell", "word", "offered"),
    [("zsh", "2", "plain\n--pool=design-studio\n_\n"), ("fish", "--pool=de", "plain,--pool=design-studio\n")],
)
def test_a_shell_that_replaces_the_whole_word_gets_the_flag_too(
    run: Run, pools: Path, shell: str, word: str, offered: str
) -> None:
    line = {"COMP_WORDS": "reconciler plan --pool=de", "COMP_CWORD": word}
    assert run(env={"_RECONCILER_COMPLETE": f"{shell}_complete", **line}).out == offered


def test_manifests_that_are_named_come_before_the_folder_and_the_setting(
    run: Run, pools: Path, tmp_path: Path
) -> None:
    own = manifest(tmp_path, [CALLS], name="own.yaml")
    set_by = manifest(tmp_path, [STUDIO], name="set.yaml")
    assert completed(run, f"reconciler plan {own} --pool ") == ["call-centre"]
    assert completed(run, "reconciler plan --pool ", RECONCILER_PATHS=str(set_by)) == ["design-studio"]


def test_a_broken_manifest_gives_no_completion_and_no_message(run: Run, pools: Path) -> None:
    pools.write_text("version: 1\npools: [", encoding="utf-8")
    assert completed(run, "reconciler plan --pool ") == []
    pools.unlink()
    pools.parent.rmdir()
    assert completed(run, "reconciler plan --pool ") == []


def test_a_name_that_a_shell_would_evaluate_is_not_offered(run: Run, tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    names = ["$(touch evil)", "a;b", "a b", "`x`", "-rf", "it's", "büro.1"]
    entries = [f"{{name: {name!r}, disks: [{{type: SAS, size: 20}}]}}" for name in names]
    manifest(tmp_path, entries, name="manifests/pools.yaml")
    assert completed(run, "reconciler plan --pool ") == ["büro.1"]


def test_a_pool_without_a_name_is_offered_by_its_id(run: Run, tmp_path: Path) -> None:
    pool = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
    path = manifest(tmp_path, [f"{{id: {pool}, disks: [{{type: SAS, size: 20}}]}}"])
    assert completed(run, f"reconciler plan {path} --pool f") == [pool]


def test_a_variable_left_behind_changes_no_command(run: Run, pools: Path) -> None:
    left = {"_RECONCILER_COMPLETE": "bash_complete", "COMP_WORDS": "reconciler pl", "COMP_CWORD": "1"}
    assert "Valid: 3 pools" in run("validate", "manifests", env=left).out
    assert run("plan", "--no-such-flag", env=left).code == 9
    assert "Usage: reconciler" in run(env={"_RECONCILER_COMPLETE": "bash_complete"}).err


def test_the_script_is_printed_for_the_shells_that_are_known(run: Run) -> None:
    for shell in ("bash", "zsh", "fish"):
        shown = run("--show-completion", shell)
        assert (shown.code, "_RECONCILER_COMPLETE" in shown.out) == (0, True)
    assert run("--show-completion", "tcsh").code == 9


def test_bash_completes(pools: Path, tmp_path: Path) -> None:
    script = (
        'eval "$(reconciler --show-completion bash)"\n'
        "COMP_WORDS=(reconciler plan --pool fin); COMP_CWORD=3; _reconciler_completion reconciler\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    installed = environment(tmp_path, Path(sys.executable).parent)
    assert shell("bash", script, tmp_path, installed) == ["finance-analysts"]


def test_fish_completes(pools: Path, tmp_path: Path) -> None:
    script = 'reconciler --show-completion fish | source; complete -C "reconciler plan --pool fin"'
    assert shell(needs.program("fish"), script, tmp_path, environment(tmp_path)) == ["finance-analysts"]


def shell(program: str, script: str, folder: Path, env: Mapping[str, str]) -> list[str]:
    done = subprocess.run(
        [program, "-c", script],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_zsh_completes(pools: Path, tmp_path: Path) -> None:
    zsh = needs.program("zsh")
    env = environment(tmp_path) | {"TERM": "dumb"}
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.execve(zsh, [zsh, "-f", "-i"], env)
    try:
        os.write(
            terminal, b'autoload -Uz compinit; compinit -D; eval "$(reconciler --show-completion zsh)"\n'
        )
        os.write(terminal, b"echo re''ady\n")
        read_until(terminal, b"ready\r\n")
        os.write(terminal, b"reconciler plan --pool fin\t")
        read_until(terminal, b"ance-analysts")
    finally:
        os.close(terminal)
        os.waitpid(child, 0)


def read_until(terminal: int, wanted: bytes) -> None:
    """Read what a terminal shows until it shows this; fails when the shell ends or says nothing more."""
    shown = b""
    while wanted not in shown:
        assert select.select([terminal], [], [], 60)[0], shown
        shown += os.read(terminal, 4096)
