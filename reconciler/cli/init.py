"""``init``: writes ready-made workflows, scheduler files and IAM policies into a folder.

The contents of the files are left to ``scaffolds``.
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
from reconciler.files import write_file
from reconciler.render.words import count
from reconciler.scaffolds import files


class Platform(StrEnum):
    """Where reconciler will run."""

    GITHUB = "github"
    GITLAB = "gitlab"
    JENKINS = "jenkins"
    ATLANTIS = "atlantis"
    KUBERNETES = "kubernetes"
    SYSTEMD = "systemd"


_IDENTITIES = "create two identities, one to read and one to apply, with the policies in iam/"
_READ_ONLY = "create an identity with iam/plan-policy.json, which can only read"
_MANIFESTS = "put the manifests into manifests/; reconciler import writes those of the live pools"
_NEXT: Mapping[Platform, tuple[str, ...]] = {
    Platform.GITHUB: (
        _IDENTITIES,
        "create the environments reconciler-plan and production with the secrets that the workflows name",
        "allow only main to deploy to production, with required reviewers",
        _MANIFESTS,
    ),
    Platform.GITLAB: (
        _IDENTITIES,
        "set the variables that .gitlab-ci.yml names; protect those for production",
        "add a pipeline schedule for the default branch, which detects drift",
        _MANIFESTS,
    ),
    Platform.JENKINS: (
        _IDENTITIES,
        "add the credentials that Jenkinsfile names",
        "create a multibranch pipeline from Jenkinsfile and a pipeline from Jenkinsfile.drift",
        _MANIFESTS,
    ),
    Platform.ATLANTIS: (
        "create an identity with iam/apply-policy.json for the server",
        "put your repository's name into repos.yaml and give that file to the server; atlantis.yaml stays here",
        _MANIFESTS,
    ),
    Platform.KUBERNETES: (
        _IDENTITIES,
        "build the image from Dockerfile and put its name into the files",
        "create the Secrets and the ConfigMap that the files name",
        "apply drift-cronjob.yaml or drift-watch.yaml; create apply-sharded-job.yaml for each reviewed run",
    ),
    Platform.SYSTEMD: (
        _READ_ONLY,
        "put the units, the manifests and the credentials where reconciler-drift.service expects them",
        "systemctl enable --now reconciler-drift.timer",
    ),
}


@flags.options
def init(
    platform: Annotated[Platform, typer.Argument(help="Where reconciler will run.")],
    *,
    folder: Annotated[Path, typer.Option("--dir", help="Folder to write into.", metavar="DIR")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")] = False,
) -> int:
    """Write ready-made workflows for github, gitlab, jenkins, atlantis, kubernetes or systemd."""
    console = Console()
    ready = {folder / path: text for path, text in files(platform.value).items()}
    # lexists, because a dangling link counts too: writing would create what it points to.
    if existing := sorted(str(path) for path in ready if os.path.lexists(path) and not force):
        raise BadInput(
            f"{count(len(existing), 'file')} would be overwritten: {', '.join(existing)}",
            "use --force to overwrite, or --dir to write elsewhere",
        )
    for path, text in ready.items():
        try:
            write_file(path, text, mode=0o666, below=folder, new=not force)
        except OSError as error:
            message = f"{error.filename or path} cannot be written: {error.strerror}"
            raise BadInput(message, "use --dir to name a folder you can write to") from None
        console.info(f"Wrote {path}")
    console.info("Next:")
    for number, step in enumerate(_NEXT[platform], 1):
        console.info(f"  {number}. {step}")
    return int(ExitCode.DONE)
