"""Help that reads at any width: Typer itself writes at least 50 columns, which a narrower terminal cuts inside words.

What the help says is left to the commands.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from typing import Any

import typer
import typer.core

LEAST = 52
"""Columns from which Typer's own layout fits."""
_INDENT = 4
"""Columns before a description that stands below what it describes."""

_Formatter: Any = typer.Context.formatter_class


class _Narrow(_Formatter):  # type: ignore[misc]  # Typer names it nowhere else
    """Puts descriptions below flags where the terminal is narrow."""

    def __init__(
        self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None
    ) -> None:
        columns = shutil.get_terminal_size().columns
        self.is_narrow = columns < LEAST
        super().__init__(indent_increment, max(columns - 1, 20) if self.is_narrow else width, max_width)

    def write_dl(self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write flags or commands with their descriptions."""
        rows = [(self._broken(first), second) for first, second in rows]
        super().write_dl(rows, _INDENT - col_spacing if self.is_narrow else col_max, col_spacing)

    def _broken(self, first: str) -> str:
        """A flag with its values on several lines, where one does not hold them; they break after a ``|``."""
        lines, room = [""], self.width - self.current_indent
        for part in re.split(r"(?<=\|)", first):
            if len(lines[-1]) + len(part) > room and lines[-1]:
                lines.append(" " * _INDENT)
            lines[-1] += part
        return f"\n{'':>{self.current_indent}}".join(lines)


class _Context(typer.Context):
    formatter_class = _Narrow


def fitting(command: Any) -> Any:
    """The same command, its help fitting the terminal, with everything below it."""
    command.context_class = _Context
    # Given as such, it is wrapped where a list of commands shows it; taken from the help, it would be cut.
    command.short_help = command.short_help or " ".join((command.help or "").split("\n\n")[0].split())
    if isinstance(command, typer.core.TyperGroup):
        for each in filter(None, command.commands.values()):
            fitting(each)
    return command
