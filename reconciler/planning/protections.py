"""What the GitHub workflows rely on in a repository's settings, and what of it is missing.

Reading the settings is left to ``cli.protections``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from reconciler.values import Struct

MERGED_INTO = "main"
"""The branch that the workflows apply."""


class BranchRule(Struct, frozen=True):
    """One set of rules for the branch: the classic protection, or a ruleset."""

    where: str
    approvals: int = 0
    """How many reviews a pull request needs; 0 also where none is needed to change the branch."""
    anew: bool = False
    """A push takes earlier approvals away."""
    last_push: bool = False
    """Somebody else than who pushed last must approve."""
    no_force: bool = False
    no_deletion: bool = False
    bypassed: bool = False
    """Somebody may ignore it, or that could not be read."""


class Environment(Struct, frozen=True):
    """One environment that jobs deploy to."""

    branches: frozenset[str] | None = None
    """Patterns of the only branches and tags that may; None: also others."""
    reviewers: bool = False
    """Somebody must approve each run."""
    self_review: bool = True
    """Who starts a run may approve it."""
    admins_bypass: bool = True


class RepositorySettings(Struct, frozen=True):
    """Everything that the workflows rely on."""

    rules: Sequence[BranchRule]
    environments: Mapping[str, Environment | None]
    """By name; None: there is none."""
    workflows_approve: bool
    """The token of a workflow may approve pull requests."""


_BRANCH: Mapping[str, Callable[[BranchRule], bool]] = {
    "take changes through pull requests with one approval or more": lambda rule: rule.approvals > 0,
    "take earlier approvals away at each push (dismiss stale reviews)": lambda rule: rule.anew,
    "require approval of the most recent push": lambda rule: rule.last_push,
    "block force pushes": lambda rule: rule.no_force,
    "block deletion": lambda rule: rule.no_deletion,
}


def missing(found: RepositorySettings) -> Iterator[str]:
    """A sentence for each setting that is not as the workflows need it."""
    for what, holds in _BRANCH.items():
        having = [rule for rule in found.rules if holds(rule)]
        if not having:
            yield f"{MERGED_INTO} must {what}"
        elif all(rule.bypassed for rule in having):
            places = " and ".join(rule.where for rule in having)
            yield f"{MERGED_INTO} must {what}, and {places} must let nobody bypass that, administrators included"
    for name, environment in found.environments.items():
        if environment is None:
            yield f"the environment {name} must exist"
        elif environment.branches != frozenset({MERGED_INTO}):
            yield f"the environment {name} must deploy from the selected branch {MERGED_INTO} alone"
    gate = found.environments.get("production")
    if gate and not gate.reviewers:
        yield "the environment production must have required reviewers"
    if gate and gate.self_review:
        yield "the environment production must prevent self-review"
    if gate and gate.admins_bypass:
        yield "the environment production must not let administrators bypass its rules"
    if found.workflows_approve:
        yield "GitHub Actions must not be allowed to approve pull requests"
