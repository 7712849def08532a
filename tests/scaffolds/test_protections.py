"""``init github --check`` lists each setting of a repository that the workflows rely on and that is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.github import GitHub as GitHubReader
from reconciler.cli.protections import settings
from reconciler.planning.protections import (
    BranchRule,
    Environment,
    RepositorySettings,
    missing,
)
from reconciler.values import replace
from tests import needs
from tests.flows.conftest import Run
from tests.scaffolds.github import REPOSITORY, GitHub, asked_by_gh, asking, hosting
from tests.scaffolds.installing import files

RULE = BranchRule("the ruleset main", 1, anew=True, last_push=True, no_force=True, no_deletion=True)
ONLY_MAIN = Environment(frozenset({"main"}), reviewers=True, self_review=False, admins_bypass=False)
GOOD = RepositorySettings((RULE,), {"production": ONLY_MAIN, "reconciler-drift": ONLY_MAIN}, False)


def environment(*, branch: str = "main") -> dict[str, Any]:
    """The addresses of two environments as they should be."""
    whole = {
        "protection_rules": [
            {"type": "branch_policy"},
            {"type": "required_reviewers", "prevent_self_review": True, "reviewers": [{"type": "Team"}]},
        ],
        "deployment_branch_policy": {"protected_branches": False, "custom_branch_policies": True},
        "can_admins_bypass": False,
    }
    policies = {"total_count": 1, "branch_policies": [{"name": branch}]}
    return {
        f"environments/{name}{more}": answer
        for name in ("production", "reconciler-drift")
        for more, answer in (("", whole), ("/deployment-branch-policies", policies))
    }


CLASSIC: dict[str, Any] = {
    "branches/main/protection": {
        "required_pull_request_reviews": {
            "required_approving_review_count": 2,
            "dismiss_stale_reviews": True,
            "require_last_push_approval": True,
            "bypass_pull_request_allowances": {"users": [], "teams": [], "apps": []},
        },
        "enforce_admins": {"enabled": True},
        "allow_force_pushes": {"enabled": False},
        "allow_deletions": {"enabled": False},
    },
    "rules/branches/main": [],
}
RULESET: dict[str, Any] = {
    "rules/branches/main": [
        {
            "type": "pull_request",
            "ruleset_id": 7,
            "parameters": {
                "required_approving_review_count": 1,
                "dismiss_stale_reviews_on_push": True,
                "require_last_push_approval": True,
            },
        },
        {"type": "non_fast_forward", "ruleset_id": 7},
        {"type": "deletion", "ruleset_id": 7},
    ],
    "rulesets/7": {"name": "main", "bypass_actors": []},
}
WORKFLOWS: dict[str, Any] = {"actions/permissions/workflow": {"can_approve_pull_request_reviews": False}}


def read(told: dict[str, Any]) -> list[str]:
    return list(missing(settings(GitHubReader(REPOSITORY, asking(GitHub("", settings=told))))))


@pytest.mark.parametrize("branch", [CLASSIC, RULESET], ids=["classic", "ruleset"])
def test_settings_as_the_header_says_are_complete(branch: dict[str, Any]) -> None:
    assert read({**branch, **environment(), **WORKFLOWS}) == []
    assert list(missing(GOOD)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda good: replace(good, rules=(replace(RULE, approvals=0),)),
            "main must take changes through pull",
        ),
        (lambda good: replace(good, rules=(replace(RULE, anew=False),)), "dismiss stale reviews"),
        (
            lambda good: replace(good, rules=(replace(RULE, last_push=False),)),
            "approval of the most recent push",
        ),
        (lambda good: replace(good, rules=(replace(RULE, no_force=False),)), "block force pushes"),
        (lambda good: replace(good, rules=(replace(RULE, no_deletion=False),)), "block deletion"),
        (
            lambda good: with_gate(good, branches=None),
            "production must deploy from the selected branch main alone",
        ),
        (lambda good: with_gate(good, branches=frozenset({"main", "*"})), "production must deploy from the"),
        (lambda good: with_gate(good, reviewers=False), "production must have required reviewers"),
        (lambda good: with_gate(good, self_review=True), "production must prevent self-review"),
        (lambda good: with_gate(good, admins_bypass=True), "not let administrators bypass"),
        (lambda good: replace(good, environments={"production": None}), "environment production must exist"),
        (lambda good: replace(good, workflows_approve=True), "not be allowed to approve pull requests"),
    ],
)
def test_each_setting_that_is_missing_is_named(
    change: Callable[[RepositorySettings], RepositorySettings], words: str
) -> None:
    [line] = missing(change(GOOD))
    assert words in line


def with_gate(good: RepositorySettings, **change: Any) -> RepositorySettings:
    """The same with another environment production."""
    return replace(good, environments={**good.environments, "production": replace(ONLY_MAIN, **change)})


def test_a_rule_that_somebody_may_bypass_counts_only_beside_one_that_nobody_may() -> None:
    bypassed = replace(RULE, bypassed=True)
    lines = list(missing(replace(GOOD, rules=(bypassed,))))
    assert len(lines) == 5
    assert all("the ruleset main must let nobody bypass that" in line for line in lines)
    assert list(missing(replace(GOOD, rules=(bypassed, RULE)))) == []


def test_bypasses_are_read_and_one_that_is_not_shown_counts() -> None:
    for hidden in ({"name": "main"}, {"name": "main", "bypass_actors": [{"actor_type": "Team"}]}):
        found = read({**RULESET, "rulesets/7": hidden, **environment(), **WORKFLOWS})
        assert len(found) == 5, found
    classic = CLASSIC["branches/main/protection"]
    for change in (
        {"enforce_admins": {"enabled": False}},
        {
            "required_pull_request_reviews": {
                **classic["required_pull_request_reviews"],
                "bypass_pull_request_allowances": {"users": [{"login": "eve"}]},
            }
        },
    ):
        told = {**CLASSIC, "branches/main/protection": {**classic, **change}}
        assert len(read({**told, **environment(), **WORKFLOWS})) == 5


def test_the_command_asks_through_gh_and_writes_nothing(tmp_path: Path, run: Run) -> None:
    needs.program("gh")
    with hosting() as github:
        env = asked_by_gh(tmp_path, github) | {"GH_TOKEN": "token", "GITHUB_REPOSITORY": REPOSITORY}
        github.settings = {"rules/branches/main": [], **environment(branch="*"), **WORKFLOWS}
        done = run("init", "github", "--check", env=env)
        assert done.code == 3
        assert f"Missing in {REPOSITORY}: main must block force pushes." in done.out
        assert done.out.count("must deploy from the selected branch main alone") == 2
        github.settings = {**RULESET, **environment(), **WORKFLOWS}
        done = run("init", "github", "--check", env=env)
        assert (done.code, done.out) == (0, f"{REPOSITORY} has every setting that the workflows rely on.\n")
    assert [path.name for path in tmp_path.iterdir()] == ["gh"]


def test_other_platforms_have_no_settings_that_could_be_read(run: Run) -> None:
    done = run("init", "jenkins", "--check")
    assert done.code == 9
    assert "--check reads settings of GitHub" in done.err


def test_the_header_of_the_apply_says_which_settings_it_relies_on() -> None:
    text = files("github")[".github/workflows/reconciler-apply.yml"]
    header = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    for words in (
        '"reconciler init github --check" reads',
        "with one approval or more, of the latest push, given again after each push",
        "nobody bypasses that, pushes by force or deletes main",
        '"production" and "reconciler-drift" deploy only from main',
        "required reviewers, who may not approve their own runs, and no administrator bypasses them",
        "Workflows may not approve pull requests",
    ):
        assert words in header
