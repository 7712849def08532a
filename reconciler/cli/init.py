"""``init``: writes ready-made workflows, scheduler files and IAM policies into a folder.

What stands in the files is left to ``scaffolds``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli import flags
from reconciler.cli.console import Console
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


_IDENTITIES = "make two identities, for looking and for applying, with the policies in iam/"
_LOOKING = "make an identity with iam/plan-policy.json, which is enough for looking"
_MANIFESTS = "put the manifests into manifests/; reconciler import writes those of the live pools"
_NEXT: Mapping[Kind, tuple[str, ...]] = {
    Kind.GITHUB: (
        _IDENTITIES,
        "make the environments reconciler-plan and production with the secrets that the workflows name",
        "let only main deploy to production, with required reviewers",
        _MANIFESTS,
    ),
    Kind.GITLAB: (
        _IDENTITIES,
        "set the variables that .gitlab-ci.yml names, those for production protected",
        "add a pipeline schedule for the default branch: it looks for drift",
        _MANIFESTS,
    ),
    Kind.JENKINS: (
        _IDENTITIES,
        "add the credentials that Jenkinsfile names",
        "make a multibranch pipeline of Jenkinsfile and a pipeline of Jenkinsfile.drift",
        _MANIFESTS,
    ),
    Kind.ATLANTIS: (
        "make an identity with iam/apply-policy.json for the server",
        "name your repository in repos.yaml and give that file to the server; atlantis.yaml stays here",
        _MANIFESTS,
    ),
    Kind.KUBERNETES: (
        _IDENTITIES,
        "build the image of Dockerfile and say its name in the files",
        "make the Secrets and the ConfigMap that the files name",
        "apply drift-cronjob.yaml or drift-watch.yaml; create apply-sharded-job.yaml for each reviewed run",
    ),
    Kind.SYSTEMD: (
        _LOOKING,
        "put the units, the manifests and the credentials where reconciler-drift.service says",
        "systemctl enable --now reconciler-drift.timer",
    ),
}


@flags.options
def init(
    kind: Annotated[Kind, typer.Argument(help="Where the tool shall run.")],
    *,
    folder: Annotated[Path, typer.Option("--dir", help="Folder to write into.", metavar="DIR")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")] = False,
) -> int:
    """Write ready workflows for github, gitlab, jenkins, atlantis, kubernetes or systemd."""
    console = Console()
    ready = {folder / path: text for path, text in files(kind.value).items()}
    # A link that leads nowhere counts too: writing would make what it points to.
    if existing := sorted(str(path) for path in ready if os.path.lexists(path) and not force):
        raise BadInput(
            f"{count(len(existing), 'file')} would be overwritten: {', '.join(existing)}",
            "say --force to overwrite, or --dir to write elsewhere",
        )
    for path, text in ready.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w" if force else "x", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            message = f"{error.filename or path} cannot be written: {error.strerror}"
            raise BadInput(message, "name a folder you can write to with --dir") from None
        console.say(f"Wrote {path}")
    console.say("Next:")
    for number, step in enumerate(_NEXT[kind], 1):
        console.say(f"  {number}. {step}")
    return int(ExitCode.DONE)
