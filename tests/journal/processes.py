"""Starts ``tests.journal.child`` in separate processes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.flows import started

ROOT = Path(__file__).parents[2]


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start a child with pipes to its stdin and from its stdout."""
    return subprocess.Popen(
        [*started.command("tests.journal.child"), *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def result(child: subprocess.Popen[str]) -> Any:
    """Wait for a child to end well, and read what it says."""
    with child:
        out, _ = child.communicate(timeout=600)
    assert child.returncode == 0
    return json.loads(out.splitlines()[-1])


def run(*arguments: str) -> Any:
    """Start a child and wait for its result."""
    return result(start(*arguments))


def run_together(arguments: Sequence[tuple[str, ...]], guns: int) -> list[Any]:
    """Start children that wait ``guns`` times until all have come so far, and wait for all results."""
    children = [start(*each) for each in arguments]
    for _ in range(guns):
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
    return [result(child) for child in children]
