"""Help that reads at any width: click itself writes at least 50 columns, which a narrower terminal cuts inside words.

What the help says is left to the commands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import click

LEAST = 52
"""Columns from which click's own layout fits."""
_INDENT = 4
"""Columns before a description that stands below what it describes."""


class _Narrow(click.HelpFormatter):
    """Puts descriptions below flags where the terminal is narrow."""

    def __init__(
        self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None
    ) -> None:
        import shutil  # noqa: PLC0415 - only where help is shown

        columns = shutil.get_terminal_size().columns
        self.is_narrow = columns < LEAST
        super().__init__(indent_increment, max(columns - 1, 20) if self.is_narrow else width, max_width)

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
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


class _Context(click.Context):
    formatter_class = _Narrow


class Command(click.Command):
    """A command whose help fits the terminal, and whose errors know which command it is."""

    context_class = _Context

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the flags and arguments; raises ``UsageError``."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # a flag without its value leaves it out
            raise


class Group(click.Group):
    """A group of commands whose help fits the terminal."""

    context_class = _Context

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the name is click's
        """The commands in the order in which they were written down."""
        return list(self.commands)
