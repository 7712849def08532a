"""Finds the manifests of a command whose command line names none, where it reads or somebody sees what it would do."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from reconciler.errors import BadInput

VARIABLE = "RECONCILER_PATHS"
FOLDER = Path("manifests")


def manifest_paths(given: Sequence[Path] | None, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """The given paths, else those of ``RECONCILER_PATHS``, else ``manifests/``; raises ``BadInput`` for none of them.

    Not for what changes anything that nobody has seen: a variable left behind must not decide what goes.
    """
    if given:
        return list(given)
    named = environ.get(VARIABLE)
    if named is not None:
        found = [Path(each) for each in named.split(os.pathsep) if each.strip()]
        if not found:
            raise BadInput(f"{VARIABLE} is set but empty", "let it name the manifests, or unset it")
        return found
    if FOLDER.is_dir():
        return [FOLDER]
    raise BadInput(
        f"no manifests are named, and there is no folder {FOLDER}/ here",
        f"name files or folders, or set {VARIABLE}; reconciler import writes manifests for live pools",
    )
