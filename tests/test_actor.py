"""Who decided is named as the environment names them."""

from __future__ import annotations

import pytest

from reconciler.cli.actor import actor, origin
from reconciler.journal.records import Origin


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"RECONCILER_ACTOR": "ann", "GITHUB_ACTOR": "robot"}, "ann"),
        ({"RECONCILER_ACTOR": "", "GITHUB_ACTOR": "octo"}, "octo"),
        ({"GITLAB_USER_LOGIN": "lab"}, "lab"),
        ({"GITHUB_TRIGGERING_ACTOR": "who-runs-again", "GITHUB_ACTOR": "octo"}, "who-runs-again"),
        ({"JENKINS_URL": "https://ci", "BUILD_USER_ID": "jen"}, "jen"),
        ({"ATLANTIS_TERRAFORM_VERSION": "1", "USER_NAME": "atl"}, "atl"),
        ({"RECONCILER_ACTOR": "a\x1b[2Jb"}, "a\\x1b[2Jb"),
    ],
)
def test_the_environment_names_who_decides(environ: dict[str, str], name: str) -> None:
    assert actor(environ) == name


def test_without_a_name_it_is_the_user_on_this_machine() -> None:
    user, _, host = actor({}).partition("@")
    assert user
    assert host


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (
            {
                "GITHUB_ACTIONS": "true",
                "GITHUB_ACTOR": "octo",
                "GITHUB_SHA": "c0ffee",
                "GITHUB_REF": "refs/pull/5/merge",
                "GITHUB_SERVER_URL": "https://github.example",
                "GITHUB_REPOSITORY": "a/b",
                "GITHUB_RUN_ID": "7",
            },
            Origin("octo", "c0ffee", "5", "https://github.example/a/b/actions/runs/7"),
        ),
        (
            {
                "GITLAB_CI": "true",
                "GITLAB_USER_LOGIN": "lab",
                "CI_COMMIT_SHA": "c0ffee",
                "CI_MERGE_REQUEST_IID": "5",
                "CI_JOB_URL": "https://gitlab.example/j/1",
                "KUBERNETES_SERVICE_HOST": "10.0.0.1",  # where GitLab's runner is a pod
                "HOSTNAME": "runner",
            },
            Origin("lab", "c0ffee", "5", "https://gitlab.example/j/1"),
        ),
        (
            {
                "JENKINS_URL": "https://ci",
                "BUILD_USER_ID": "jen",
                "GIT_COMMIT": "c0ffee",
                "CHANGE_ID": "5",
                "BUILD_URL": "https://ci/9",
            },
            Origin("jen", "c0ffee", "5", "https://ci/9"),
        ),
        (
            {
                "ATLANTIS_TERRAFORM_VERSION": "1.9",
                "USER_NAME": "atl",
                "HEAD_COMMIT": "c0ffee",
                "PULL_NUM": "5",
                "PULL_URL": "https://git.example/5",
            },
            Origin("atl", "c0ffee", "5", "https://git.example/5"),
        ),
        (
            {"RECONCILER_ACTOR": "ann", "KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOSTNAME": "apply-0"},
            Origin("ann", "", "", "pod/apply-0"),
        ),
        (
            {
                "GITHUB_ACTIONS": "true",
                "RECONCILER_ACTOR": "ann",
                "RECONCILER_COMMIT": "abc",
                "RECONCILER_PULL_REQUEST": "6",
                "RECONCILER_RUN_URL": "https://run.example",
            },
            Origin("ann", "abc", "6", "https://run.example"),
        ),
        # Names that mean something else elsewhere.
        (
            {
                "RECONCILER_ACTOR": "ann",
                "HEAD_COMMIT": "x",
                "PULL_NUM": "1",
                "BUILD_URL": "y",
                "HOSTNAME": "z",
            },
            Origin("ann"),
        ),
    ],
    ids=["github", "gitlab", "jenkins", "atlantis", "kubernetes", "own names", "elsewhere"],
)
def test_each_platform_says_who_started_a_run_and_from_what(
    environ: dict[str, str], expected: Origin
) -> None:
    assert origin(environ) == expected
