"""Help reads at any width: every line fits, and no word of it is cut."""

from __future__ import annotations

import pytest

from tests.flows.conftest import Run, run
from tests.test_readme import COMMANDS, OPTIONS

__all__ = ["run"]


@pytest.mark.parametrize("columns", [40, 80])
def test_the_help_of_every_command_fits_the_terminal_and_cuts_no_word(run: Run, columns: int) -> None:
    def words(text: str) -> str:
        return " ".join(text.split()).replace("| ", "|")  # values of a flag may stand on several lines

    for path in sorted(COMMANDS):
        wide, shown = (run(*path, "--help", env={"COLUMNS": str(width)}).out for width in (400, columns))
        assert words(shown) == words(wide), path
        long = [line for line in shown.splitlines() if len(line) > columns and len(line.split()) > 1]
        assert not long, path


def test_every_command_has_the_flags_of_quiet_of_colour_and_of_the_log() -> None:
    shared = {"--quiet", "--no-color", "--verbose", "--debug", "--log-file", "--log-format"}
    runnable = {path for path, command in COMMANDS.items() if not getattr(command, "commands", {})}
    assert {path for path in runnable if not shared <= OPTIONS[path]} == set()
