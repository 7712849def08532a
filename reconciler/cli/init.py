"""``init``: writes ready-made workflows, scheduler files and IAM policies into a folder.

The contents of the files are left to ``scaffolds``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from reconciler import DISTRIBUTION, installation
from reconciler.cli import flags
from reconciler.cli.console import Console
from reconciler.cli.parameters import argument, flag
from reconciler.errors import BadInput, ExitCode
from reconciler.files import write_file
from reconciler.render.line import count
from reconciler.scaffolds import files

CONSTRAINTS = "reconciler-constraints.txt"
"""Beside the files of every platform: the exact versions that they install."""
_JOURNAL_EXTRA = "postgres"


class Platform(StrEnum):
    """Where reconciler will run."""

    GITHUB = "github"
    GITLAB = "gitlab"
    JENKINS = "jenkins"
    ATLANTIS = "atlantis"
    KUBERNETES = "kubernetes"
    SYSTEMD = "systemd"
    PRE_COMMIT = "pre-commit"
    PROMETHEUS = "prometheus"


INSTALL_NOTHING = frozenset({Platform.PROMETHEUS})
"""Whose files run nothing of ours: they need no package and no identity."""
_IDENTITIES = "create two identities, one to read and one to apply, with the policies in iam/"
_READ_ONLY = "create an identity with iam/plan-policy.json, which can only read"
_TRUST = (
    "create an identity provider for the platform's tokens and two agencies, one to read and one to apply, with the "
    "policies in iam/; or two identities with stored keys"
)
_MANIFESTS = "put the manifests into manifests/; reconciler import writes those of the live pools"
_NEXT: Mapping[Platform, tuple[str, ...]] = {
    Platform.GITHUB: (
        _TRUST,
        "create the environments reconciler-plan, reconciler-drift and production with what the workflows name",
        "protect main, and allow only main to deploy to production and reconciler-drift, with required reviewers, as "
        "reconciler-apply.yml says; reconciler init github --check lists what is missing",
        _MANIFESTS,
    ),
    Platform.GITLAB: (
        _TRUST,
        "set the variables that .gitlab-ci.yml names, for drift also RECONCILER_ISSUE_TOKEN, without which what is due "
        "cannot be listed; protect those for drift and production",
        "add a pipeline schedule for the default branch, which detects drift and lists what is due",
        _MANIFESTS,
    ),
    Platform.JENKINS: (
        _IDENTITIES,
        "create three folders, each with the credentials that one file names and no other",
        "create in them a multibranch pipeline from Jenkinsfile, and pipelines of the branch main from "
        "Jenkinsfile.apply and Jenkinsfile.drift",
        _MANIFESTS,
    ),
    Platform.ATLANTIS: (
        _IDENTITIES,
        "install reconciler and put the credentials where repos.yaml says, on the server",
        "put your repository's name into repos.yaml and give that file to the server; atlantis.yaml stays here",
        _MANIFESTS,
    ),
    Platform.KUBERNETES: (
        _IDENTITIES,
        "build the image from Dockerfile and put its name with its digest into the files",
        "create the Secrets and the ConfigMaps that the files name",
        "apply network-policy.yaml, drift-cronjob.yaml or drift-watch.yaml, and due-cronjob.yaml where manifests have "
        "grace",
        "create apply-sharded-job.yaml for each reviewed run",
    ),
    Platform.SYSTEMD: (
        _READ_ONLY,
        "install reconciler, and put the units, the manifests and the credentials where reconciler-drift.service "
        "expects them",
        "systemctl enable --now reconciler-drift.timer",
    ),
    Platform.PRE_COMMIT: (
        "install reconciler as .pre-commit-config.yaml says, and put it into your PATH",
        "install pre-commit, and call pre-commit install in each clone",
        _MANIFESTS,
    ),
    Platform.PROMETHEUS: (
        "have reconciler watch serve /metrics (--health-port), or drift write a textfile (--prometheus), and scrape "
        "it as reconciler-alerts.yaml says",
        "name that file under rule_files in prometheus.yml; promtool check rules reconciler-alerts.yaml checks it",
        "set its times to those of your schedule",
    ),
}


@flags.options
def init(
    platform: Annotated[Platform, argument(help="Where reconciler will run.", metavar="PLATFORM")],
    *,
    folder: Annotated[Path, flag("--dir", help="Folder to write into.", metavar="DIR")] = Path(),
    force: Annotated[bool, flag("--force", help="Overwrite files that exist.")] = False,
    package: Annotated[
        str,
        flag(
            help="What the files install: an exact requirement; otherwise what this installation came from.",
            metavar="REQUIREMENT",
            show_default=False,
        ),
    ] = "",
    index_url: Annotated[
        str, flag(help="Package index of a --package with ==.", metavar="URL", show_default=False)
    ] = "",
    check: Annotated[
        bool,
        flag("--check", help="Write nothing: list which settings of the repository on github are missing."),
    ] = False,
) -> int:
    """Write ready-made files for github, gitlab, jenkins, atlantis, kubernetes, systemd, prometheus or pre-commit."""
    console = Console()
    if check:
        return _check(platform, console)
    if index_url and not package:
        raise BadInput("--index-url goes with --package", f"add --package {DISTRIBUTION}==VERSION")
    written, absent = _contents(platform, package, index_url)
    ready = {folder / path: text for path, text in written.items()}
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
        console.note(f"Wrote {path}")
    if absent:
        console.info(
            f"The files install the extra {_JOURNAL_EXTRA}, which is not installed here: {CONSTRAINTS} holds no "
            f"version of {', '.join(sorted(absent))}. Install {DISTRIBUTION}[{_JOURNAL_EXTRA}] and run init again."
        )
    console.note("Next:")
    for number, step in enumerate(_NEXT[platform], 1):
        console.note(f"  {number}. {step}")
    return int(ExitCode.DONE)


def _contents(platform: Platform, package: str, index_url: str) -> tuple[dict[str, str], set[str]]:
    """The files of a platform, and which of the packages that they install are not installed here."""
    if platform in INSTALL_NOTHING:
        if package:
            raise BadInput(f"the files of {platform.value} install nothing", "omit --package")
        return files(platform.value, ""), set()
    here = installation.installed()
    chosen = (
        installation.named_package(package, index_url) if package else installation.recorded_package(here)
    )
    known = installation.versions()
    written = files(platform.value, chosen.arguments(_JOURNAL_EXTRA))
    written[CONSTRAINTS] = installation.constraints(known)
    absent = set(installation.dependencies(here, _JOURNAL_EXTRA)) - set(known) if here else set[str]()
    return written, absent


def _check(platform: Platform, console: Console) -> int:
    if platform is not Platform.GITHUB:
        raise BadInput(
            f"--check reads settings of GitHub, and knows none of {platform.value}",
            "compare them with the headers of the files",
        )
    from reconciler.cli import protections  # noqa: PLC0415 - only here is GitHub asked

    return protections.check(console)
