"""Changes one expression at a time in the code that decides what is deleted, and shows which changes no test notices.

``python -m tests.planted.mutants [FILE…]`` takes an hour or more for all files on two cores, so it is no part of
``.ci/run``. What survives is either equivalent (it changes nothing that can be observed) or a test that is missing.
"""

from __future__ import annotations

import ast
import copy
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.planted.__main__ import FAILED, ROOT, Job, import_libraries, in_forks
from tests.planted.bugs import Bug

TESTS = {
    "planning/guards.py": ("tests/planning/test_guards.py", "tests/planning/test_plan.py"),
    "planning/matching.py": ("tests/planning/test_matching.py",),
    "planning/stale_plan.py": ("tests/planning/test_stale_plan.py",),
    "planning/plan_file.py": ("tests/planning/test_plan_file.py",),
    "apply/second_check.py": ("tests/apply/test_second_check.py",),
    "apply/operation.py": tuple(f"tests/apply/test_{name}.py" for name in ("operation", "pools", "run")),
    "apply/resolve.py": ("tests/apply/test_resolve.py",),
    "apply/proof.py": tuple(f"tests/apply/test_{name}.py" for name in ("proof", "judge", "resolve")),
    "api/outcome.py": ("tests/api/test_outcome.py",),
}
"""The files worth it, each with the tests that cover it."""
BROKEN = 2
"""Exit code of pytest when the module cannot even be imported, which is noticed as well."""
SECONDS = 120
"""Of computing; a mutant whose tests use more goes round in circles, which is noticed as well."""

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
                yield Mutant(node.lineno, ast.unparse(node), text, whole)  # type: ignore[attr-defined]


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


def main(files: Sequence[str]) -> int:
    """Run the mutants of these files, or of all; returns 1 when one survives."""
    import_libraries()
    survived = 0
    for file in files or TESTS:
        source = (ROOT / "reconciler" / file).read_text(encoding="utf-8")
        found = list(mutants(source))
        jobs = [
            Job(
                str(at),
                ("--assert=plain", *TESTS[file]),
                Bug(str(at), file, source, each.source, ""),
                SECONDS,
            )
            for at, each in enumerate(found)
        ]
        lived = []
        for job, code, output, _ in in_forks(jobs):
            if code == 0:
                lived.append(found[int(job.name)])
            elif code not in (FAILED, BROKEN) and code > 0:  # below 0 it was killed, as it did not end
                raise RuntimeError(f"the tests of {file} did not run: {output[-2000:]}")
        for each in sorted(lived, key=lambda each: each.line):
            print(f"  {file}:{each.line}: {each.before}  ->  {each.after}")
        killed = len(found) - len(lived)
        print(f"{file}: {len(found)} mutants, {killed} noticed, {len(lived)} survived", flush=True)
        survived += len(lived)
    return int(survived > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
