"""Completes command lines for a shell: names of pools come from the manifests, and nothing is asked of any service.

The scripts for the shells and the completion of commands and flags are Typer's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Any

VARIABLE = "_RECONCILER_COMPLETE"
"""What a shell sets to ask for completions; Typer reads it."""
_PLAIN = re.compile(r"[\w@%+][\w@%+.-]*")
"""Names that mean themselves in every shell; others are not offered, since zsh evaluates what it is offered."""


class Shell(StrEnum):
    """The shells whose completion is tested."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def make_known() -> None:
    """Let Typer know the shells, as it does by itself only where it also installs scripts."""
    typer: Any = import_module("typer.completion")
    typer.completion_init()


def script(shell: Shell) -> str:
    """The script that switches completion on in this shell."""
    typer: Any = import_module("typer.completion")  # whose types leave these functions out
    return str(typer.get_completion_script(prog_name="reconciler", complete_var=VARIABLE, shell=shell))


def pool_names(given: Mapping[str, Any], left: Sequence[str], incomplete: str) -> list[str]:
    """Names of the declared pools that begin so, ids of those without a name; none where the manifests are no good."""
    from reconciler.cli.manifest_paths import manifest_paths  # noqa: PLC0415 - not needed to run a command
    from reconciler.manifest.load import read  # noqa: PLC0415

    # Where the line ends with the flag, reading it ended there, and the paths are what is left.
    paths = [Path(each) for each in given.get("paths") or left]
    with suppress(Exception):
        manifest = read(manifest_paths(paths), follow_symlinks=bool(given.get("follow_symlinks")))
        names = {pool.name or pool.id for pool in manifest.pools}
        return sorted(each for each in names if each.startswith(incomplete) and _PLAIN.fullmatch(each))
    return []
