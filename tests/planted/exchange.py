"""Gives functions of a module that is imported already other code, where two sources differ inside of functions only.

So a fork of a process that has collected the tests has a bug at once: nothing is imported or collected anew.
"""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from inspect import CO_OPTIMIZED
from types import CodeType, FunctionType

Codes = Mapping[str, CodeType]
"""New code by the qualified names of functions."""


def changed_functions(before: str, after: str, file: str) -> Codes | None:
    """The new code of the functions in which two sources differ; ``None`` if they differ elsewhere, or nowhere."""
    old, new = _compiled(before, file), list(_codes(compile(after, file, "exec")))
    names = [name for name, _ in old]
    if names != [name for name, _ in new]:
        return None
    changed = [
        (name, one, two)
        for (name, one), (_, two) in zip(old, new, strict=True)
        if _essence(one) != _essence(two)
    ]
    of_functions = all(
        one.co_flags & CO_OPTIMIZED
        and "<" not in name
        and names.count(name) == 1
        and one.co_freevars == two.co_freevars
        for name, one, two in changed
    )
    return {name: two for name, _, two in changed} if changed and of_functions else None


@cache
def _compiled(source: str, file: str) -> list[tuple[str, CodeType]]:
    return list(_codes(compile(source, file, "exec")))


def functions_of(files: Collection[str]) -> list[FunctionType]:
    """The functions of these files that are imported and that ``gc.freeze`` has not hidden."""
    return [
        each
        for each in gc.get_objects()
        if isinstance(each, FunctionType) and each.__code__.co_filename in files
    ]


def exchange(functions: Iterable[FunctionType], file: str, codes: Codes) -> None:
    """Give those of the functions that are of this file other code; raises ``LookupError`` when one is not there."""
    here = [each for each in functions if each.__code__.co_filename == file]
    if missing := codes.keys() - {each.__code__.co_qualname for each in here}:
        raise LookupError(f"no function {', '.join(sorted(missing))} of {file} is imported")
    for each in here:
        each.__code__ = codes.get(each.__code__.co_qualname, each.__code__)


def _codes(code: CodeType) -> Iterator[tuple[str, CodeType]]:
    """The code of a module, of its classes and of its functions, by qualified name; not what is within functions."""
    yield code.co_qualname, code
    if not code.co_flags & CO_OPTIMIZED:
        for each in code.co_consts:
            if isinstance(each, CodeType):
                yield from _codes(each)


def _essence(code: CodeType) -> object:
    """What code does, wherever it stands."""
    whole = code.co_flags & CO_OPTIMIZED  # functions of a module or a class are judged by themselves
    constants = [
        repr(each) if not isinstance(each, CodeType) else _essence(each) if whole else each.co_qualname
        for each in code.co_consts
    ]
    return code.co_code, code.co_names, code.co_varnames, constants
