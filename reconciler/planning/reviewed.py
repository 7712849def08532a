"""Which plan a merged pull request approves: the one that its plan workflow recorded and that people then reviewed.

Reading GitHub is left to ``cli.github``. All here are values as GitHub's own records have them; what a pull request
could write itself (statuses, comments, texts) is no part of it. Times are GitHub's, to the second, in UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from reconciler.errors import Refused
from reconciler.values import Struct

PLAN_WORKFLOW = ".github/workflows/reconciler-plan.yml"
PLAN_FILES = (PLAN_WORKFLOW, "reconciler-constraints.txt")
"""What decides which program plans: ``pip`` takes addresses of packages from a file of constraints, too."""
AGAIN = "push a new commit to a pull request, and have its plan reviewed"
"""What to do about most refusals: a plan of another commit is recorded and reviewed again."""


class PullRequest(Struct, frozen=True):
    """One pull request."""

    number: int
    author: str
    base: str
    """Name of the branch that it was made for."""
    head: str
    """Its last commit."""
    branch: str
    """Name of the branch that it comes from."""
    repository: str
    """``owner/name`` of that branch's repository; empty when that is gone."""
    opened: datetime
    closed: datetime | None
    """None: it is open."""
    merged: bool
    merge_commit: str
    """What it became, once it is merged: the merge, the squashed commit, or the last of the rebased ones."""


class Recorded(Struct, frozen=True):
    """One plan as the name of an artifact says it, which only a job of that run can make."""

    code: int
    """Exit code of the plan; only 0 can be applied."""
    digest: str
    at: datetime


class WorkflowRun(Struct, frozen=True):
    """One run of a workflow, with all its attempts."""

    id: int
    path: str
    event: str
    head: str
    branch: str
    repository: str
    """Of the branch."""
    created: datetime
    """When it ran first; running it again changes nothing about what it runs for."""
    recorded: tuple[Recorded, ...] = ()


class Review(Struct, frozen=True):
    """One review of a pull request."""

    person: str
    state: str
    commit: str
    at: datetime
    counts: bool
    """Whether it is by a person who may write to the repository: anybody can review a public one."""


class Evidence(Struct, frozen=True):
    """Everything that GitHub knows about one pull request that decides."""

    pull: PullRequest
    changed: frozenset[str]
    """The files that it changes."""
    all_listed: bool
    """False where it changes more: GitHub does not list more than 3000."""
    blobs: Mapping[str, tuple[str, str]]
    """Of each of ``PLAN_FILES``: its content in the last commit, and in the default branch."""
    pointed: tuple[datetime, ...]
    """When it was pointed at another branch."""
    others: tuple[PullRequest, ...]
    """Other pull requests from the same branch."""
    pushers: frozenset[str]
    """Who pushed its last commit, each time."""
    runs: tuple[WorkflowRun, ...]
    reviews: tuple[Review, ...]
    """Oldest first."""


class Demand(Struct, frozen=True):
    """What is to be applied, and what the review must be like."""

    repository: str
    base: str
    """The branch whose commits are applied."""
    commit: str
    """What is checked out."""
    required: int = 1
    """How many people must have approved."""


class Found(Struct, frozen=True):
    """What was approved, in which pull request, and by whom."""

    digest: str
    number: int
    people: tuple[str, ...]


def merged_pull(pulls: Iterable[PullRequest], demand: Demand) -> PullRequest:
    """The pull request that became the commit; raises ``Refused`` when there is not exactly one."""
    found = [
        each
        for each in pulls
        if each.merged and each.merge_commit == demand.commit and each.base == demand.base
    ]
    if len(found) != 1:
        raise Refused(
            f"commit {demand.commit} is not the merge of one pull request into {demand.base}, so no plan of it was "
            "approved; nothing was sent",
            f"merge changes through pull requests for {demand.base}, and leave their branches to GitHub",
        )
    pull = found[0]
    if pull.repository != demand.repository:
        raise _refused(pull, "it comes from another repository, whose plans are not trusted")
    return pull


def is_plan_of(run: WorkflowRun, pull: PullRequest) -> bool:
    """Whether a run is one of the plan workflow for the last commit of a pull request."""
    wanted = (PLAN_WORKFLOW, "pull_request", pull.head, pull.branch, pull.repository)
    return (run.path, run.event, run.head, run.branch, run.repository) == wanted


def approved(evidence: Evidence, demand: Demand) -> Found:
    """The digest that was reviewed; raises ``Refused`` with the first reason why there is none."""
    pull = merged_pull([evidence.pull], demand)
    _check_program(evidence)
    runs = [each for each in evidence.runs if is_plan_of(each, pull)]
    for run in runs:
        _check_base(run, evidence)
    records = sorted((each for run in runs for each in run.recorded), key=lambda each: (each.at, each.digest))
    good = [each for each in records if each.code == 0]
    if not good:
        raise _refused(pull, f"{PLAN_WORKFLOW} recorded no plan of its last commit that can be applied")
    digest = good[0].digest
    if not evidence.pushers:
        raise _refused(pull, "who pushed its last commit is not known, and must not be who reviews it")
    people = _reviewers(evidence, records, digest)
    if len(people) < demand.required:
        raise _refused(pull, _too_few(evidence, people, demand.required))
    return Found(digest, pull.number, people)


def _check_program(evidence: Evidence) -> None:
    """Refuse a plan that a program of the pull request's own may have made."""
    pull = evidence.pull
    if not evidence.all_listed:
        raise _refused(pull, "it changes more files than GitHub lists")
    for path in PLAN_FILES:
        here, default = evidence.blobs[path]
        if path in evidence.changed:
            raise _refused(pull, f"it changes {path} itself, so its plan is its own word")
        if here != default:
            raise _refused(pull, f"its {path} is not that of the default branch; bring the branch up to date")


def _check_base(run: WorkflowRun, evidence: Evidence) -> None:
    """Refuse a run that may have been for another branch, with the workflow that is there.

    A run names the commit and not the pull request. So while it began, no other pull request of the branch may have
    been open, and this one may not have been for another branch.
    """
    pull = evidence.pull
    if any(at >= run.created for at in evidence.pointed):
        raise _refused(pull, f"it was pointed at another branch after its plan (run {run.id}) was made")
    for other in evidence.others:
        if other.opened <= run.created and (other.closed is None or other.closed >= run.created):
            raise _refused(
                pull,
                f"pull request #{other.number}, from the same branch, was open when the plan was made "
                f"(run {run.id}), which may be of that one",
            )


def _reviewers(evidence: Evidence, records: Sequence[Recorded], digest: str) -> tuple[str, ...]:
    """Who approved this digest: their last word is an approval of that very commit, after its plan."""
    pull = evidence.pull
    last: dict[str, Review] = {}
    for review in sorted(evidence.reviews, key=lambda each: each.at):
        if review.state in ("APPROVED", "CHANGES_REQUESTED", "DISMISSED"):  # a comment changes no approval
            last[review.person.casefold()] = review
    involved = {each.casefold() for each in (pull.author, *evidence.pushers)}
    return tuple(
        review.person
        for name, review in sorted(last.items())
        if review.state == "APPROVED"
        and review.commit == pull.head
        and review.counts
        and name not in involved
        and _shown(records, review.at, digest)
    )


def _shown(records: Sequence[Recorded], at: datetime, digest: str) -> bool:
    """Whether this digest was all that there was to approve at a time, and could be applied."""
    before = [each for each in records if each.at < at]
    return (
        bool(before)
        and before[-1].code == 0
        and {each.digest for each in before if each.code == 0} == {digest}
    )


def _too_few(evidence: Evidence, people: Sequence[str], required: int) -> str:
    pushed = ", ".join(sorted(evidence.pushers))
    return (
        f"{len(people)} of {required} approving reviews count: on its last commit {evidence.pull.head}, after the one "
        f"plan that was recorded for it, by people with write access other than its author ({evidence.pull.author}) "
        f"and who pushed that commit ({pushed})"
    )


def _refused(pull: PullRequest, why: str) -> Refused:
    return Refused(f"pull request #{pull.number} approves no plan: {why}; nothing was sent", AGAIN)


class Gate(Struct, frozen=True):
    """How a run that a person started passed the gate of its environment."""

    starters: frozenset[str]
    """Who started it, and who let it run again."""
    ref: str
    approvers: tuple[str, ...]
    """The people who approved its deployment into the environment."""


def second_person(gate: Gate, base: str, environment: str) -> str:
    """Who other than the starter approved a run by hand; raises ``Refused`` when that is nobody."""
    if gate.ref != f"refs/heads/{base}":
        raise Refused(f"this run is of {gate.ref}, not of {base}; nothing was sent", f"start it on {base}")
    started = {each.casefold() for each in gate.starters}
    found = [each for each in gate.approvers if each.casefold() not in started]
    if not found:
        raise Refused(
            f"nobody but {', '.join(sorted(gate.starters))} approved this run, who started it; nothing was sent",
            f"give the environment {environment} required reviewers who may not approve their own runs, or pass "
            "signed approvals (reconciler approve)",
        )
    return found[0]
