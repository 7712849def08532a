"""Runs the commands of ready-made files as the machines they are made for do: in bash, with what those set."""

from __future__ import annotations

import ensurepip
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from tests import needs
from tests.flows.conftest import bare
from tests.flows.skipping import TIME
from tests.flows.started import CLIENT, skipping

_EXPRESSION = re.compile(r"\$\{\{ (.+?) \}\}")


@dataclass(frozen=True)
class Step:
    """What one script left."""

    code: int
    out: str


def git(folder: Path, *words: str) -> None:
    """Run git in a folder, as nobody in particular."""
    who = {
        f"GIT_{role}_{what}": "a@example.org"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), **who}
    command = [needs.program("git"), "-c", "init.defaultBranch=main", *words]
    subprocess.run(command, cwd=folder, env=env, check=True, capture_output=True)


_COPY = """\
if [ $# = 5 ] && [ "$1 $2 $3 $4" = "-I -m venv --clear" ]; then
  rm -rf "$5"
  cp -al '{made}' "$5"
  mv "$5"/bin/installed "$5"/bin/reconciler
  exec sed -i "s|{made}|$5|" "$5"/bin/pip* "$5"/bin/reconciler
fi
"""
_EMPTY = """\
if [ $# = 5 ] && [ "$1 $2 $3 $4" = "-I -m venv --clear" ]; then
  {python} "$@" --without-pip
  cp -a '{pip}'/pip '{pip}'/pip-*.dist-info "$5"/lib/python*/site-packages
  printf '%s\\n' "#!$5/bin/python3" "from pip._internal.cli.main import main" "raise SystemExit(main())" > "$5"/bin/pip3
  chmod 755 "$5"/bin/pip3
  exec cp -p "$5"/bin/pip3 "$5"/bin/pip
fi
"""
_FORK = """\
#!/bin/sh
if [ -z "$STARTED" ]; then
  exec "${{0%/*}}"/installed "$@"
fi
exec {python} -S -E {client} "$STARTED" reconciler "$@"
"""
_SATISFIED = """\
#!/bin/sh
if [ "$*" = '{words}' ] && cmp -s '{constraints}' {name}; then
  exit 0
fi
exec "${{0%/*}}"/pip3 "$@"
"""
STARTED = dict[str, str]()
"""What ``bash`` adds to an environment: where a server forks what is installed, once something is."""


def quickened(program: Path) -> None:
    """Let ``bash`` fork an installed program, which is the same for all scripts; without ``STARTED`` it runs itself."""
    program.rename(program.with_name("installed"))
    program.write_text(_FORK.format(python=sys.executable, client=CLIENT))
    program.chmod(0o755)


def satisfied(pip: Path, words: Sequence[str], constraints: Path) -> None:
    """Let a pip that was called with these words, and constraints, know that it has nothing more to do for the same."""
    pip.unlink()
    pip.write_text(_SATISFIED.format(words=" ".join(words), constraints=constraints, name=constraints.name))
    pip.chmod(0o755)


def with_python(folder: Path, record: Path | None = None, made: Path | None = None) -> Path:
    """A folder for PATH that has the Python of these tests; it notes the environment in which it is started.

    With ``made``, an environment that was made before, it copies that instead of making one like it. Else it copies
    the pip of this environment, if that is the very one that comes with Python: to unpack it takes seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    note = f"env >> '{record}'\n" if record else ""
    copy = ""
    if made:
        copy = _COPY.format(made=made)
    elif find_spec("pip") and metadata.version("pip") == ensurepip.version():
        copy = _EMPTY.format(python=sys.executable, pip=sysconfig.get_path("purelib"))
    for name in ("python", "python3"):
        (folder / name).write_text(f'#!/bin/sh -e\n{note}{copy}exec {sys.executable} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


def ending(folder: Path, code: int) -> Path:
    """A folder for PATH with a program called ``reconciler`` that does nothing but end with this code."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "reconciler").write_text(f"#!/bin/sh\nexit {code}\n")
    (folder / "reconciler").chmod(0o755)
    return folder


def bash(script: str, folder: Path, env: Mapping[str, str], *programs: Path) -> Step:
    """Run a script in a folder, in an environment that has nothing but ``env`` and the programs of these folders.

    Modules of this source tree are not found: what runs is what was installed. It goes by ``TIME``, and skips what it
    waits for.
    """
    own = {name: value for name, value in bare(folder).items() if name != "PYTHONPATH"}
    with skipping(TIME) as own_time:
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=folder,
            env=own
            | STARTED
            | own_time
            | {"PATH": ":".join([*map(str, programs), os.environ["PATH"]])}
            | dict(env),
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
