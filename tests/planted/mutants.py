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
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import CO_OPTIMIZED
from types import CodeType, FrameType, FunctionType
from typing import NoReturn

import pytest

from tests.planted.__main__ import FAILED, FEW, QUIETLY, ROOT, Job, import_libraries, in_forks
from tests.planted.bugs import Bug
from tests.planted.equivalent import EQUIVALENT

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
    "apply/proof.py": tuple(f"tests/apply/test_{name}.py" for name in ("proof", "judge", "resolve")) + RETRY,
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
    """What is no behaviour: annotations, decorators, patterns, texts; and what is between the braces of a text."""
    for node in ast.walk(tree):
        yield from getattr(node, "decorator_list", ())
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
    source = (ROOT / "reconciler" / file).read_text(encoding="utf-8")
    return source, [each for each in mutants(source) if not lines or each.line in lines]


def survivors(file: str, source: str, found: Sequence[Mutant]) -> list[Mutant]:
    """The mutants of a file that no test notices."""
    inside, outside = [], []
    before = dict(_codes(compile(source, "", "exec")))
    for each in found:
        after = dict(_codes(compile(each.source, "", "exec")))
        changed = {name for name in before if _essence(before[name]) != _essence(after.get(name))}
        of_functions = all(before[name].co_flags & CO_OPTIMIZED and "<" not in name for name in changed)
        if changed and of_functions and before.keys() == after.keys():
            inside.append((each, {name: after[name] for name in changed}))
        else:
            outside.append(each)
    lived = list(
        _outside(file, source, outside)
    )  # first, as its forks need a process that has imported nothing
    plugin = Inside(file, inside)
    os.environ.update(FEW)
    code = pytest.main([*QUIETLY, "--assert=plain", *TESTS[file]], plugins=[plugin])
    if not plugin.ran:
        raise RuntimeError(f"the tests of {file} did not run: pytest ended with {int(code)}")
    return lived + plugin.lived


def _outside(file: str, source: str, found: Sequence[Mutant]) -> Iterator[Mutant]:
    """Those of mutants outside of functions that live: each needs all modules anew."""
    jobs = [
        Job(str(at), ("--assert=plain", *TESTS[file]), Bug(str(at), file, source, each.source, ""), SECONDS)
        for at, each in enumerate(found)
    ]
    for job, code, output, _ in in_forks(jobs, at_once=AT_ONCE):
        if code == 0:
            yield found[int(job.name)]
        elif code not in (FAILED, BROKEN) and code > 0:  # below 0 it was killed, as it did not end
            raise RuntimeError(f"the tests of {file} did not run: {output[-2000:]}")


class Inside:
    """Plugin of pytest that runs the tests it has collected once for each mutant, in forks of its process.

    The code of a function is exchanged in place, and only tests that call it run, the quickest first: so a mutant
    costs no import, no collection and no test that cannot notice it.
    """

    def __init__(self, file: str, found: Sequence[tuple[Mutant, Mapping[str, CodeType]]]) -> None:
        self._module = "reconciler." + file.removesuffix(".py").replace("/", ".")
        self._path = str(ROOT / "reconciler" / file)
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
        functions = {
            each.__qualname__: each
            for each in gc.get_objects()
            if isinstance(each, FunctionType) and each.__module__ == self._module
        }
        plugins = session.config.pluginmanager
        plugins.unregister(plugins.get_plugin("terminalreporter"))  # which would print a dot for every test
        calls = self._calls(session.items)
        gc.freeze()
        waiting, running = list(self._found), dict[int, Mutant]()
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                mutant, codes = waiting.pop()
                called = [(spent, at) for at, (spent, names) in calls.items() if names & codes.keys()]
                tests = [session.items[at] for _, at in sorted(called)]
                if (pid := os.fork()) == 0:
                    self._child(functions, codes, tests)
                running[pid] = mutant
            pid, status = os.wait()
            mutant = running.pop(pid)
            if status == 0:
                self.lived.append(mutant)
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
            raise RuntimeError(f"the tests of {self._module} fail without any mutant")
        return found

    def _run(self, item: pytest.Item, following: pytest.Item | None) -> None:
        item.ihook.pytest_runtest_protocol(item=item, nextitem=following)

    def _child(
        self,
        functions: Mapping[str, FunctionType],
        codes: Mapping[str, CodeType],
        tests: Sequence[pytest.Item],
    ) -> NoReturn:
        """Exchange the code, run the tests up to the first that fails, and end; 0: none did."""
        code = FAILED
        try:
            _quiet()
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
            signal.alarm(10 * SECONDS)
            for name, changed in codes.items():
                functions[name].__code__ = changed
            for at, item in enumerate(tests):
                self._run(item, tests[at + 1] if at + 1 < len(tests) else None)
                if self._failed:
                    break
            code = FAILED if self._failed else 0
        finally:
            os._exit(code)


def _quiet() -> None:
    with open(os.devnull, "w", encoding="utf-8") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)


def _codes(code: CodeType) -> Iterator[tuple[str, CodeType]]:
    """The code of a module, of its classes and of its functions, by qualified name; not what is within functions."""
    yield code.co_qualname, code
    if not code.co_flags & CO_OPTIMIZED:
        for each in code.co_consts:
            if isinstance(each, CodeType):
                yield from _codes(each)


def _essence(code: CodeType | None) -> object:
    """What code does, wherever it stands."""
    if code is None:
        return None
    whole = code.co_flags & CO_OPTIMIZED  # functions of a module or a class are judged by themselves
    constants = [
        repr(each) if not isinstance(each, CodeType) else _essence(each) if whole else each.co_qualname
        for each in code.co_consts
    ]
    return code.co_code, code.co_names, code.co_varnames, constants


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
