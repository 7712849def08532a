"""Reads from GitHub the settings that its workflows rely on; ``init github --check`` shows what is missing.

What they must be is left to ``planning.protections``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from reconciler.cli.console import Console
from reconciler.cli.github import GitHub, repository, understood
from reconciler.errors import ExitCode
from reconciler.planning.protections import MERGED_INTO, BranchRule, Environment, RepositorySettings, missing

_ENVIRONMENTS = ("production", "reconciler-drift")


def check(console: Console) -> int:
    """List what is missing in the repository of this folder or job; exit code 3 when anything is."""
    github = GitHub(repository())
    with understood():
        name = github.get("")["full_name"]
        found = list(missing(settings(github)))
    for each in found:
        console.text(f"Missing in {name}: {each}.")
    if not found:
        console.text(f"{name} has every setting that the workflows rely on.")
    return int(ExitCode.REFUSED if found else ExitCode.DONE)


def settings(github: GitHub) -> RepositorySettings:
    """The settings, as a login sees them that may administer the repository; what it does not see counts as missing."""
    return RepositorySettings(
        tuple(_rules(github)),
        {name: _environment(github, name) for name in _ENVIRONMENTS},
        github.get("actions/permissions/workflow")["can_approve_pull_request_reviews"],
    )


def _rules(github: GitHub) -> Iterator[BranchRule]:
    if classic := github.maybe(f"branches/{MERGED_INTO}/protection"):
        yield _classic(classic)
    sets: defaultdict[int, dict[str, dict[str, Any]]] = defaultdict(dict)
    for each in github.every(f"rules/branches/{MERGED_INTO}"):
        sets[each["ruleset_id"]][each["type"]] = each.get("parameters") or {}
    for number, rules in sets.items():
        whole = github.maybe(f"rulesets/{number}") or {}
        review = rules.get("pull_request", {})
        yield BranchRule(
            where=f"the ruleset {whole.get('name', number)}",
            approvals=review.get("required_approving_review_count", 0),
            anew=review.get("dismiss_stale_reviews_on_push", False),
            last_push=review.get("require_last_push_approval", False),
            no_force="non_fast_forward" in rules,
            no_deletion="deletion" in rules,
            bypassed=whole.get("bypass_actors") != [],  # left out for who may not see it
        )


def _classic(told: Any) -> BranchRule:
    review = told.get("required_pull_request_reviews") or {}
    allowed = review.get("bypass_pull_request_allowances") or {}
    return BranchRule(
        where=f"the protection of {MERGED_INTO}",
        approvals=review.get("required_approving_review_count", 0),
        anew=review.get("dismiss_stale_reviews", False),
        last_push=review.get("require_last_push_approval", False),
        no_force=not _enabled(told, "allow_force_pushes", default=True),
        no_deletion=not _enabled(told, "allow_deletions", default=True),
        bypassed=not _enabled(told, "enforce_admins", default=False) or any(allowed.values()),
    )


def _enabled(told: Any, name: str, *, default: bool) -> bool:
    return bool(told.get(name, {}).get("enabled", default))


def _environment(github: GitHub, name: str) -> Environment | None:
    told = github.maybe(f"environments/{name}")
    if told is None:
        return None
    rules = {each["type"]: each for each in told["protection_rules"]}
    review = rules.get("required_reviewers", {})
    chosen = (told.get("deployment_branch_policy") or {}).get("custom_branch_policies", False)
    policies = (
        github.every(f"environments/{name}/deployment-branch-policies", "branch_policies") if chosen else ()
    )
    return Environment(
        branches=frozenset(each["name"] for each in policies) if chosen else None,
        reviewers=bool(review.get("reviewers")),
        self_review=not review.get("prevent_self_review", False),
        admins_bypass=told.get("can_admins_bypass", True),
    )
