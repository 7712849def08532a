"""What the README promises about exit codes and flags is what the program has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from reconciler.cli.app import app
from reconciler.errors import ExitCode

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    """The text below a heading, up to the next one of its level."""
    return README.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with the words that call it."""
    yield path, command
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(app)))
OPTIONS: dict[tuple[str, ...], set[str]] = {
    path: {flag for each in command.params for flag in each.opts if flag.startswith("--")}
    for path, command in COMMANDS.items()
}


def test_the_exit_codes_of_the_readme_are_those_of_the_program() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \|", section("Exit codes"), re.M)
    listed = [int(code) for row in rows for code in row.split(",")]
    assert listed == [int(code) for code in ExitCode]


def test_every_flag_the_readme_names_is_one_of_the_program() -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", README))
    every = set[str]().union(*OPTIONS.values())
    starts = {flag for flag in named if f"{flag}-…" in README}
    assert named
    assert {flag for flag in named - starts if flag not in every} == set()
    assert all(any(option.startswith(f"{flag}-") for option in every) for flag in starts)


@pytest.mark.parametrize("path", sorted(COMMANDS), ids=" ".join)
def test_the_help_of_a_command_tells_each_flag_that_the_readme_names(path: tuple[str, ...]) -> None:
    told = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"}).output
    for flag in OPTIONS[path]:
        assert flag not in README or re.search(rf"(?<![\w-]){flag}(?![\w-])", told), flag


def test_every_command_line_of_the_readme_uses_flags_of_that_command() -> None:
    lines = re.findall(r"(?:`|bin/)reconciler ([^`\n]*)", README)
    assert lines
    for line in lines:
        words = line.replace("|", " ").split()
        path: tuple[str, ...] = ()
        while words and (*path, words[0]) in COMMANDS:
            path = (*path, words.pop(0))
        flags = {word for word in words if word.startswith("--") and not word.endswith("-…")}
        assert path, line
        assert flags <= OPTIONS[path], line
