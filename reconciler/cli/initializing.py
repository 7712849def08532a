"""Owns ``init``: writing ready-made workflows, scheduler files and IAM policies into a folder."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli.screen import Screen
from reconciler.errors import BadInput, ExitCode
from reconciler.render.words import count
from reconciler.scaffolds import files


class Kind(StrEnum):
    """Where the tool shall run."""

    GITHUB = "github"
    GITLAB = "gitlab"
    JENKINS = "jenkins"
    ATLANTIS = "atlantis"
    KUBERNETES = "kubernetes"
    SYSTEMD = "systemd"


def init(
    kind: Annotated[Kind, typer.Argument(help="Where the tool shall run.")],
    folder: Annotated[Path, typer.Option("--dir", help="Folder to write into.", metavar="DIR")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")] = False,
) -> int:
    """Write ready workflows for github, gitlab, jenkins, atlantis, kubernetes or systemd."""
    screen = Screen()
    ready = {folder / path: text for path, text in files(kind.value).items()}
    if existing := sorted(str(path) for path in ready if path.exists() and not force):
        raise BadInput(
            f"{count(len(existing), 'file')} would be overwritten: {', '.join(existing)}", "say --force"
        )
    try:
        for path, text in ready.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{error.filename or folder} cannot be written: {error.strerror}") from None
    for path in ready:
        screen.say(f"wrote {path}")
    screen.say(
        "Each file begins with what it needs; iam/ has the least permissions for planning and for applying."
    )
    return int(ExitCode.DONE)
