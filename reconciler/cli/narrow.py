"""What click leaves to be wished: help that reads at any width, and no value that nobody can have meant.

Click itself writes at least 50 columns, which a narrower terminal cuts inside words. What the help says is left to
the commands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

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
    """A command whose help fits the terminal, whose values are none by accident, and whose errors know which it is."""

    context_class = _Context

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the flags and arguments; raises ``UsageError``."""
        try:
            if not ctx.resilient_parsing:  # a line that is completed may still have anything
                _check_values(args, {name: each for each in self.get_params(ctx) for name in each.opts})
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # a flag without its value leaves it out
            raise


def _check_values(args: Sequence[str], params: dict[str, click.Parameter]) -> None:
    """Raise ``UsageError`` for a value that nobody can have meant: mostly a variable of a script that nothing set.

    ``apply ""`` would take the current folder, and ``--run-group $GROUP --sandbox`` the real service.
    """
    flag = ""  # the one whose value comes next
    for each in args:
        name, equals, value = each.partition("=")
        if flag and (each.startswith("--") or each in params):
            raise click.UsageError(f"Option {flag!r} requires an argument, and {name!r} is a flag itself.")
        if not each or (equals and not value and _takes_value(params.get(name))):
            named = flag or name
            raise click.UsageError(f"The value of {named!r} is empty." if named else "An argument is empty.")
        flag = each if not flag and _takes_value(params.get(each)) else ""
        if each == "--":
            params = {}  # only arguments follow


def _takes_value(param: click.Parameter | None) -> bool:
    return isinstance(param, click.Option) and not param.is_flag


class Group(click.Group):
    """A group of commands whose help fits the terminal."""

    context_class = _Context

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the name is click's
        """The commands in the order in which they were written down."""
        return list(self.commands)
