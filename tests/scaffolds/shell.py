"""Runs the commands of ready-made files as the machines they are made for do: in bash, with what those set."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.flows import started
from tests.flows.conftest import bare

_EXPRESSION = re.compile(r"\$\{\{ (.+?) \}\}")


@dataclass(frozen=True)
class Step:
    """What one script left."""

    code: int
    out: str


def programs(folder: Path) -> Path:
    """A folder for PATH that holds the tool as installing puts it there: installing itself is left out."""
    made = folder / "bin"
    made.mkdir()
    (made / "reconciler").write_text(f'#!/bin/sh\nexec {shlex.join(started.command())} "$@"\n')
    (made / "reconciler").chmod(0o755)
    for name in ("python", "python3"):
        (made / name).write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        (made / name).chmod(0o755)
    return made


def bash(script: str, folder: Path, env: Mapping[str, str], bin_folder: Path) -> Step:
    """Run a script in a folder, in an environment that has nothing but ``env`` and the programs."""
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env=bare(folder) | {"PATH": f"{bin_folder}:{os.environ['PATH']}"} | dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=600,
        check=False,
    )
    assert "Traceback" not in done.stdout, done.stdout
    return Step(done.returncode, done.stdout)


def resolved(text: str, context: Mapping[str, str]) -> str:
    """GitHub's expressions replaced by their values; a name that the context lacks is empty, as there."""
    return _EXPRESSION.sub(lambda found: context.get(found[1], ""), text)
