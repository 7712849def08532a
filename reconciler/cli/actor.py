"""Who runs a command, and from what, for the journal; whether that person may is left to the service and the CI."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping

from reconciler.journal.records import Origin
from reconciler.safe_text import safe_text

_ACTORS = ("RECONCILER_ACTOR", "GITHUB_TRIGGERING_ACTOR", "GITHUB_ACTOR", "GITLAB_USER_LOGIN")
_FROM: Mapping[str, tuple[str, str, str, str]] = {
    "GITHUB_ACTIONS": ("GITHUB_TRIGGERING_ACTOR", "GITHUB_SHA", "", ""),
    "GITLAB_CI": ("GITLAB_USER_LOGIN", "CI_COMMIT_SHA", "CI_MERGE_REQUEST_IID", "CI_JOB_URL"),
    "JENKINS_URL": ("BUILD_USER_ID", "GIT_COMMIT", "CHANGE_ID", "BUILD_URL"),
    "ATLANTIS_TERRAFORM_VERSION": ("USER_NAME", "HEAD_COMMIT", "PULL_NUM", "PULL_URL"),
}
"""By the variable that a platform always sets: its names for user, commit, pull request and run.

Several of these names are common words, so they count only beside the variable that is not. Sources: GitHub's and
GitLab's lists of predefined variables, Jenkins' ``env-vars.html`` and its plugin build-user-vars, Atlantis' custom
workflows.
"""


def actor(environ: Mapping[str, str]) -> str:
    """The name given by the environment, the CI's user, or ``user@host``."""
    given = next((environ[name] for name in (*_ACTORS, _names(environ)[0]) if environ.get(name)), "")
    return safe_text(given) or f"{_user()}@{safe_text(socket.gethostname())}"


def origin(environ: Mapping[str, str]) -> Origin:
    """Who starts a run here, and from which commit, pull request and run of which CI."""
    _, commit, pull, run = _names(environ)
    return Origin(
        actor(environ),
        _first(environ, "RECONCILER_COMMIT", commit),
        _first(environ, "RECONCILER_PULL_REQUEST", pull) or _github_pull(environ),
        _first(environ, "RECONCILER_RUN_URL", run) or _github_run(environ) or _pod(environ),
    )


def pull_request(environ: Mapping[str, str]) -> str:
    """The address of the pull request where the platform says enough for one; else what the journal keeps."""
    number = origin(environ).pull_request
    if not number.isdigit():
        return number
    server, repository = environ.get("GITHUB_SERVER_URL", ""), environ.get("GITHUB_REPOSITORY", "")
    if environ.get("GITHUB_ACTIONS") and server and repository:
        return safe_text(f"{server}/{repository}/pull/{number}")
    if environ.get("GITLAB_CI") and (project := environ.get("CI_PROJECT_URL", "")):
        return safe_text(f"{project}/-/merge_requests/{number}")
    return number


def _names(environ: Mapping[str, str]) -> tuple[str, str, str, str]:
    return next((names for mark, names in _FROM.items() if environ.get(mark)), ("", "", "", ""))


def _first(environ: Mapping[str, str], *names: str) -> str:
    return safe_text(next((environ[name] for name in names if environ.get(name)), ""))


def _github_pull(environ: Mapping[str, str]) -> str:
    """The pull request of ``refs/pull/5/merge``; a push has none there."""
    parts = environ.get("GITHUB_REF", "").split("/")
    return safe_text(parts[2]) if parts[:2] == ["refs", "pull"] and len(parts) > 2 else ""


def _github_run(environ: Mapping[str, str]) -> str:
    names = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    server, repository, number = (environ.get(name, "") for name in names)
    return safe_text(f"{server}/{repository}/actions/runs/{number}") if server and number else ""


def _pod(environ: Mapping[str, str]) -> str:
    """A pod of Kubernetes, which is called like its host; it has no address to look at."""
    inside = environ.get("KUBERNETES_SERVICE_HOST") and environ.get("HOSTNAME")
    return f"pod/{safe_text(environ['HOSTNAME'])}" if inside else ""


def _user() -> str:
    try:
        return safe_text(getpass.getuser())
    except (KeyError, OSError, ImportError):  # a container's user need not have a name
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "somebody"
