"""Changes one expression at a time in the code that decides what is deleted, and shows which changes no test notices.

``python -m tests.planted.mutants [FILE…]`` takes minutes for each file, so it is no part of ``.ci/run``;
``FILE:LINE`` stands for the mutants of one line. What survives is a test that is missing, but for those that change
nothing that can be observed: they stand in ``equivalent``, each with why.
"""

from __future__ import annotations

import ast
import copy
import gc
import os
import pickle
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from types import FrameType, FunctionType

import pytest

from tests.planted.__main__ import FAILED, FEW, PACKAGE, QUIETLY, import_libraries, in_forks, run_apart
from tests.planted.bugs import Bug
from tests.planted.equivalent import EQUIVALENT
from tests.planted.exchange import Codes, changed_functions, exchange, functions_of

RETRY = ("tests/apply/test_check_retry.py", "tests/engine/test_retry.py")
TESTS = {
    "planning/guards.py": ("tests/planning/test_guards.py", "tests/planning/test_plan.py"),
    "planning/matching.py": ("tests/planning/test_matching.py",),
    "planning/stale_plan.py": ("tests/planning/test_stale_plan.py",),
    "planning/plan_file.py": ("tests/planning/test_plan_file.py",),
    "planning/backups.py": ("tests/planning/test_backups.py",),
    "apply/second_check.py": (
        "tests/apply/test_second_check.py",
        "tests/apply/test_check_retry.py",
        "tests/planning/test_backups.py",
    ),
    "apply/operation.py": tuple(
        f"tests/apply/test_{name}.py"
        for name in ("endings", "operation", "pools", "run", "judge", "partial", "resolve")
    )
    + RETRY,
    "apply/resolve.py": ("tests/apply/test_resolve.py", "tests/apply/test_decision.py", *RETRY),
    "apply/proof.py": tuple(
        f"tests/apply/test_{name}.py" for name in ("proof", "judge", "resolve", "endings", "run")
    )
    + RETRY,
    "api/outcome.py": ("tests/api/test_outcome.py",),
}
"""The files worth it, each with the tests that cover it."""
BROKEN = 2
"""Exit code of pytest when the module cannot even be imported, which is noticed as well."""
SECONDS = 40
"""Of computing; a mutant whose tests use more goes round in circles, which is noticed as well."""

AT_ONCE = os.cpu_count() or 1

_OTHER = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
}


@dataclass(frozen=True)
class Mutant:
    """One change of a source text."""

    line: int
    before: str
    after: str
    source: str
    """The whole file with the change."""
    changed: str
    """The first line that differs, as it is then."""


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a module that compiles, each once."""
    tree = ast.parse(source)
    skipped = {id(inner) for outer in _skipped(tree) for inner in ast.walk(outer)}
    tests = {id(node.test) for node in ast.walk(tree) if isinstance(node, ast.If | ast.IfExp)}
    seen = {source}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        changes = list(_changes(node))
        if id(node) in tests and isinstance(node, ast.expr) and not changes:
            changes.append(ast.UnaryOp(ast.Not(), node))
        for changed in changes:
            text = ast.unparse(changed) if isinstance(changed, ast.stmt) else f"({ast.unparse(changed)})"
            whole = _spliced(source, node, text)
            if whole not in seen and _compiles(whole):
                seen.add(whole)
                lines = zip(source.splitlines(), whole.splitlines(), strict=False)
                changed_line = next(after for before, after in lines if before != after).strip()
                yield Mutant(node.lineno, ast.unparse(node), text, whole, changed_line)  # type: ignore[attr-defined]


def _skipped(tree: ast.Module) -> Iterator[ast.AST]:
    """What is no behaviour: annotations, decorators, of what kind a class is, patterns, texts and what they show."""
    for node in ast.walk(tree):
        yield from getattr(node, "decorator_list", ())
        if isinstance(node, ast.ClassDef):
            yield from node.keywords
        yield from filter(None, (getattr(node, "annotation", None), getattr(node, "returns", None)))
        if isinstance(node, ast.pattern | ast.JoinedStr):
            yield node


def _changes(node: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """What could stand in the place of one node."""
    match node:
        case ast.Compare(ops=[operator, *_]) if type(operator) in _OTHER:
            yield _with(node, ops=[_OTHER[type(operator)](), *node.ops[1:]])
        case ast.BoolOp() | ast.BinOp() if type(node.op) in _OTHER:
            yield _with(node, op=_OTHER[type(node.op)]())
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.Constant(value + 1)
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.AugAssign():
            yield ast.Pass()
        case ast.Call():
            yield from _calls(node)


def _calls(node: ast.Call) -> Iterator[ast.expr]:
    """Two arguments exchanged, and a named one left out."""
    if len(node.args) > 1 and not any(isinstance(each, ast.Starred) for each in node.args):
        for at in range(len(node.args) - 1):
            order = [*node.args[:at], node.args[at + 1], node.args[at], *node.args[at + 2 :]]
            yield _with(node, args=order)
    for at in range(len(node.keywords)):
        yield _with(node, keywords=[*node.keywords[:at], *node.keywords[at + 1 :]])


def _with(node: ast.expr, **fields: object) -> ast.expr:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _spliced(source: str, node: ast.AST, text: str) -> str:
    lines = source.encode().splitlines(keepends=True)
    starts = [sum(len(line) for line in lines[:at]) for at in range(len(lines))]
    start = starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
    end = starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
    raw = source.encode()
    return (raw[:start] + text.encode() + raw[end:]).decode()


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def _chosen(file: str, lines: Sequence[int]) -> tuple[str, list[Mutant]]:
    source = (PACKAGE / file).read_text(encoding="utf-8")
    return source, [each for each in mutants(source) if not lines or each.line in lines]


def survivors(file: str, source: str, found: Sequence[Mutant]) -> list[Mutant]:
    """The mutants of a file that no test notices."""
    path = str(PACKAGE / file)
    codes = [(each, changed_functions(source, each.source, path)) for each in found]
    inside = [(each, changed) for each, changed in codes if changed]
    outside = [each for each, changed in codes if not changed]
    # First, as its forks need a process that has imported nothing.
    lived = list(_outside(file, source, outside))
    plugin = Inside(file, inside)
    os.environ.update(FEW)
    code = pytest.main([*QUIETLY, "-s", *TESTS[file]], plugins=[plugin])
    if not plugin.ran:
        raise RuntimeError(f"the tests of {file} did not run: pytest ended with {int(code)}")
    return lived + plugin.lived


def _outside(file: str, source: str, found: Sequence[Mutant]) -> Iterator[Mutant]:
    """Those of mutants outside of functions that live: each needs all modules anew."""
    works = [
        (each, partial(run_apart, Bug("", file, source, each.source, ""), TESTS[file])) for each in found
    ]
    for mutant, code, output, _ in in_forks(works, AT_ONCE, SECONDS):
        if code == 0:
            yield mutant
        elif code not in (FAILED, BROKEN) and code > 0:  # below 0 it was killed, as it did not end
            raise RuntimeError(f"the tests of {file} did not run: {output[-2000:]}")


class Inside:
    """Plugin of pytest that runs the tests it has collected once for each mutant, in forks of its process.

    The code of a function is exchanged in place, and only tests that call it run, the quickest first: so a mutant
    costs no import, no collection and no test that cannot notice it.
    """

    def __init__(self, file: str, found: Sequence[tuple[Mutant, Codes]]) -> None:
        self._path = str(PACKAGE / file)
        self._found = found
        self._failed = False
        self.ran = False
        self.lived: list[Mutant] = []
        """Mutants that no test noticed."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember a failure."""
        self._failed |= report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests as they are, to see what they call, and then for every mutant."""
        gc.unfreeze()  # what was collected is frozen, and what is frozen is not found
        functions = functions_of({self._path})
        plugins = session.config.pluginmanager
        plugins.unregister(plugins.get_plugin("terminalreporter"))  # which would print a dot for every test
        calls = self._calls(session.items)
        gc.freeze()
        works = []
        for mutant, codes in self._found:
            if missing := codes.keys() - {each.__code__.co_qualname for each in functions}:
                raise LookupError(f"{missing} of {self._path} is not imported, so it cannot be exchanged")
            called = [(spent, at) for at, (spent, names) in calls.items() if names & codes.keys()]
            tests = [session.items[at] for _, at in sorted(called)]
            works.append((mutant, partial(self._fork, functions, codes, tests)))
        self.lived += [mutant for mutant, code, _, _ in in_forks(works, AT_ONCE, SECONDS) if code == 0]
        self.ran = True
        return True

    def _calls(self, items: Sequence[pytest.Item]) -> dict[int, tuple[float, set[str]]]:
        """Of each test that calls the module: seconds, and the names of the functions that it calls."""
        reading, writing = os.pipe()
        if (pid := os.fork()) == 0:
            os.close(reading)
            _quiet()
            calls: dict[int, tuple[float, set[str]]] = {}
            for at, item in enumerate(items):
                names: set[str] = set()

                def called(frame: FrameType, _event: str, _arg: object, names: set[str] = names) -> None:
                    if frame.f_code.co_filename == self._path:
                        names.add(frame.f_code.co_qualname.partition(".<locals>")[0])

                threading.setprofile(called)
                sys.setprofile(called)
                started = time.process_time()
                self._run(item, items[at + 1] if at + 1 < len(items) else None)
                sys.setprofile(None)
                threading.setprofile(None)
                if names:
                    calls[at] = time.process_time() - started, names
            with open(writing, "wb") as result:
                pickle.dump(None if self._failed else calls, result)
            os._exit(0)
        os.close(writing)
        with open(reading, "rb") as file:
            found: dict[int, tuple[float, set[str]]] | None = pickle.load(file)
        os.waitpid(pid, 0)
        if found is None:
            raise RuntimeError(f"the tests of {self._path} fail without any mutant")
        return found

    def _run(self, item: pytest.Item, following: pytest.Item | None) -> None:
        item.ihook.pytest_runtest_protocol(item=item, nextitem=following)

    def _fork(
        self, functions: Sequence[FunctionType], codes: Codes, tests: Sequence[pytest.Item], folder: Path
    ) -> int:
        """Exchange the code and run the tests up to the first that fails; 0: none did."""
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(folder)
        exchange(functions, self._path, codes)
        for item, following in zip_longest(tests, tests[1:]):
            self._run(item, following)
            if self._failed:
                return FAILED
        return 0


def _quiet() -> None:
    with open(os.devnull, "w", encoding="utf-8") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)


def main(files: Sequence[str]) -> int:
    """Run the mutants of these files or lines (``FILE:LINE``), or of all; returns 1 when one survives."""
    import_libraries()
    wanted: dict[str, list[int]] = {}
    for each in files or TESTS:
        file, _, line = each.partition(":")
        wanted.setdefault(file, []).extend([int(line)] if line else [])
    survived = 0
    for file, lines in wanted.items():
        source, found = _chosen(file, lines)
        if (pid := os.fork()) == 0:
            os._exit(_report(file, source, found))
        _, status = os.waitpid(pid, 0)
        survived |= os.waitstatus_to_exitcode(status)
    return survived


def _report(file: str, source: str, found: Sequence[Mutant]) -> int:
    lived = survivors(file, source, found)
    equivalent = [each for each in lived if each.changed in EQUIVALENT.get(file, {})]
    missed = [each for each in lived if each not in equivalent]
    for each in sorted(missed, key=lambda each: each.line):
        print(f"  {file}:{each.line}: {each.before}  ->  {each.after}")
    killed = len(found) - len(lived)
    print(
        f"{file}: {len(found)} mutants, {killed} noticed, {len(equivalent)} equivalent, {len(missed)} survived",
        flush=True,
    )
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
