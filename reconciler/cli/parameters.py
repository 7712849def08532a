"""Makes the flags and arguments of a command from the types of a function's parameters.

Which there are is left to ``flags`` and to the commands, reading them from a command line to click.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from inspect import Parameter
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import click

from reconciler.cli.narrow import Command
from reconciler.values import Struct

SETTINGS = {"help_option_names": ["-h", "--help"], "show_default": True}
"""What holds for every command."""
_FILE = click.Path(path_type=Path, readable=False)
"""A file or folder; who opens it says what is wrong with it."""


class Marker(Struct, frozen=True):
    """What the type of a parameter does not say about it."""

    names: tuple[str, ...] | None
    """Those of a flag, empty where its parameter is named like it; None for an argument."""
    given: Mapping[str, Any]
    """What click is given as it is."""
    range: tuple[int | None, int | None] = (None, None)


def argument(*, help: str, metavar: str) -> Marker:
    """An argument: ``Annotated[Path, argument(…)]``."""
    return Marker(None, {"help": help, "metavar": metavar})


def flag(
    *names: str,
    min: int | None = None,
    max: int | None = None,
    help: str,
    metavar: str | None = None,
    show_default: bool | str | None = None,
    is_eager: bool = False,
    callback: Callable[[click.Context, click.Parameter, Any], Any] | None = None,
    complete: Callable[[click.Context, click.Parameter, str], Any] | None = None,
) -> Marker:
    """A flag: ``Annotated[int, flag("--most", …)]``."""
    given: dict[str, object] = {"help": help, "metavar": metavar, "show_default": show_default}
    given |= {"is_eager": is_eager, "callback": callback, "shell_complete": complete}
    return Marker(names, given, (min, max))


def made(name: str, about: str, run: Callable[..., int], parameters: Iterable[Parameter]) -> Command:
    """A command that calls ``run`` with the values of these parameters; its help is what a docstring says."""
    params = [_made(each) for each in parameters]
    # Given as such, it is wrapped where a list of commands shows it; taken from the help, it would be cut.
    first = " ".join(about.partition("\n\n")[0].split())
    return Command(name, SETTINGS, run, params, about, short_help=first)


def _made(parameter: Parameter) -> click.Parameter:
    kind, marker = get_args(parameter.annotation)
    if isinstance(kind, UnionType):
        [kind] = (each for each in get_args(kind) if each is not NoneType)
    several = get_origin(kind) is list
    if several:
        [kind] = get_args(kind)
    given: dict[str, Any] = {**marker.given, "type": _type(kind, marker)}
    if several:
        given["callback"] = _listed
    if parameter.default is Parameter.empty:
        given["required"] = True
    else:  # an enum by its value: click would show its name
        given["default"] = getattr(parameter.default, "value", parameter.default)
    if marker.names is None:
        return _Argument([parameter.name], nargs=-1 if several else 1, **given)
    names = marker.names or (f"--{parameter.name.replace('_', '-')}",)
    return click.Option([*names, parameter.name], is_flag=kind is bool or None, multiple=several, **given)


def _listed(_line: click.Context, _parameter: click.Parameter, values: tuple[Any, ...]) -> list[Any] | None:
    return list(values) or None


def _type(kind: Any, marker: Marker) -> click.ParamType[Any] | None:
    if kind is int:
        return _Whole(*marker.range)
    if kind is Path:
        return _FILE
    if issubclass(kind, StrEnum):
        return _OneOf(kind)
    return None  # a text, or a switch


class _Argument(click.Argument):
    """Shows what is optional in brackets, and in the list of arguments what is not."""

    def make_metavar(self, ctx: click.Context) -> str:
        name = super().make_metavar(ctx)
        return name if self.required else f"[{name}]"

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        name, text = super().get_help_record(ctx)
        return name, f"{text}  [required]" if self.required else text


class _OneOf(click.Choice[StrEnum]):
    """Members of an enum by their values; click itself takes their names."""

    def normalize_choice(self, choice: object, ctx: click.Context | None) -> str:  # noqa: ARG002
        return str(choice)

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:  # noqa: ARG002
        return f"Choose from {', '.join(self.choices)}."


class _Whole(click.IntRange):
    """A whole number; says in plain words what it may be."""

    name = "n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            if isinstance(value, str) and not re.fullmatch(
                "-?[0-9]+", value
            ):  # int() takes 1_0 and other digits
                self.fail(value)
            return super().convert(value, param, ctx)
        except click.BadParameter:
            allowed = f"of at least {self.min}" if self.max is None else f"from {self.min} to {self.max}"
            self.fail(f"{value!r} is not a whole number {allowed}.", param, ctx)
