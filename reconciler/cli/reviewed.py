"""``reviewed``: finds in GitHub which plan the merged pull request of this job approves, for ``apply --approve``.

What counts as a review is left to ``planning.reviewed``.
"""

from __future__ import annotations

import os
import re
from typing import Annotated

from reconciler.cli import flags
from reconciler.cli.approval import DIGEST
from reconciler.cli.console import Console
from reconciler.cli.github import GitHub, evidence, gate, pulls_of, repository, understood
from reconciler.cli.parameters import argument, flag
from reconciler.cli.policy import find_policy
from reconciler.errors import BadInput, ExitCode
from reconciler.planning.reviewed import Demand, Found, approved, merged_pull, second_person


@flags.options
def reviewed(
    digest: Annotated[
        str | None,
        argument(help="A plan that a person names, instead of a pull request's.", metavar="DIGEST"),
    ] = None,
    *,
    base: Annotated[str, flag(help="The branch whose commits are applied.", metavar="BRANCH")] = "main",
    environment: Annotated[
        str, flag(help="The environment whose reviewers approve such a DIGEST.", metavar="NAME")
    ] = "production",
    policy: flags.PolicyFile = None,
) -> int:
    """Print the digest that the merged pull request of this GitHub job approves, or refuse; asks through gh.

    With a DIGEST: print it when somebody else than who started this job approved it.
    """
    console = Console()
    rules = find_policy(policy)
    required = rules.approvals.required if rules and rules.approvals else 1
    github = GitHub(repository())
    with understood():
        if digest:
            found = _by_hand(digest, github, base, environment)
        else:
            found = of_merge(github, Demand(github.repository, base, _variable("GITHUB_SHA"), required))
    about = f"pull request #{found.number}" if found.number else "this run"
    console.info(f"{', '.join(found.people)} approved the plan {found.digest} ({about}).")
    console.text(f"digest={found.digest}")
    console.text(f"pull_request={found.number or ''}")
    return int(ExitCode.DONE)


def of_merge(github: GitHub, demand: Demand) -> Found:
    """What the pull request approves that became a commit; raises ``Refused`` when nothing was reviewed."""
    pull = merged_pull(pulls_of(github, demand.commit), demand)
    return approved(evidence(github, pull), demand)


def _by_hand(digest: str, github: GitHub, base: str, environment: str) -> Found:
    if not re.fullmatch(DIGEST, digest):
        raise BadInput(f"{digest!r} is not a digest", "use the 64 hexadecimal digits that plan prints")
    run, ref = _variable("GITHUB_RUN_ID"), _variable("GITHUB_REF")
    return Found(digest, 0, (second_person(gate(github, run, ref, environment), base, environment),))


def _variable(name: str) -> str:
    found = os.environ.get(name, "")
    if not found:
        raise BadInput(f"{name} is not set", "reviewed is for jobs of GitHub Actions, which sets it")
    return found
