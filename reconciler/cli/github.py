"""Reads GitHub through ``gh api``, which brings login, certificates, pages and retries.

What the records mean is left to ``planning.reviewed`` and ``planning.protections``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from urllib.parse import quote

from reconciler.errors import BadInput, ServiceError
from reconciler.planning.reviewed import (
    PLAN_FILES,
    PLAN_WORKFLOW,
    Evidence,
    Gate,
    PullRequest,
    Recorded,
    Review,
    WorkflowRun,
    is_plan_of,
)
from reconciler.safe_text import safe_text

_WAIT = 120.0
"""Seconds for one question, with all its pages."""
_PLAN = re.compile(r"plan-(\d{1,3})-([0-9a-f]{64})-\d+")
"""How the plan workflow names the artifact with a plan: exit code, digest, attempt."""
_POINTED = ("base_ref_changed", "automatic_base_change_succeeded")


Ask = Callable[[str, bool], list[Any]]
"""The JSON documents at an address, those of all its pages if that is wanted; raises ``ServiceError``."""


class NotThere(ServiceError):
    """GitHub has no such thing, or does not show it to this login."""


def gh_api(address: str, pages: bool) -> list[Any]:
    """What ``gh api`` prints for an address."""
    command = [_gh(), "api", *(["--paginate"] if pages else []), address]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_WAIT, check=False)  # noqa: S603 - no shell
    except subprocess.TimeoutExpired:
        raise ServiceError(f"GitHub did not answer within {_WAIT:.0f} seconds: {address}") from None
    if done.returncode:
        said = safe_text(done.stderr.decode("utf-8", "replace").strip())
        kind = NotThere if "(HTTP 404)" in said else ServiceError
        raise kind(
            f"GitHub could not be asked for {address}: {said}",
            "gh needs a login with the rights for that: GH_TOKEN, or gh auth login",
        )
    return list(_documents(done.stdout.decode("utf-8", "replace"), address))


class GitHub:
    """One repository, as the login of ``gh`` may see it."""

    def __init__(self, repository: str, ask: Ask = gh_api) -> None:
        self.repository = repository
        self._documents = ask

    def get(self, path: str, **query: str) -> Any:
        """One JSON document below the repository; raises ``ServiceError`` when it cannot be had."""
        return self._ask(path, query, pages=False)[0]

    def maybe(self, path: str) -> Any:
        """The same; None when there is no such thing."""
        try:
            return self.get(path)
        except NotThere:
            return None

    def every(self, path: str, key: str = "", **query: str) -> list[Any]:
        """Everything of a list, which stands in its pages under a key."""
        pages = self._ask(path, {**query, "per_page": "100"}, pages=True)
        return [each for page in pages for each in (page[key] if key else page)]

    def _ask(self, path: str, query: Mapping[str, str], *, pages: bool) -> list[Any]:
        asked = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        address = f"repos/{self.repository}{'/' if path else ''}{path}{'?' if asked else ''}{asked}"
        return self._documents(address, pages)


def repository(environ: Mapping[str, str] = os.environ) -> str:
    """The repository of this job, else ``gh``'s own words for the one of this folder."""
    named = environ.get("GITHUB_REPOSITORY", "{owner}/{repo}")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+|\{owner\}/\{repo\}", named):
        raise BadInput(f"GITHUB_REPOSITORY {safe_text(named)!r} is not a repository", "use OWNER/NAME")
    return named


def _gh() -> str:
    if found := shutil.which("gh"):
        return found
    raise BadInput("gh is not installed, and GitHub is asked through it", "install GitHub's command line, gh")


def _documents(text: str, address: str) -> Iterator[Any]:
    """Every JSON document: older versions of ``gh`` print one for each page, one after the other."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            raise ServiceError(f"GitHub's answer to {address} is not JSON") from None
        yield value


@contextmanager
def understood() -> Iterator[None]:
    """Turn an answer of another shape into a ``ServiceError``: what is not understood approves nothing."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ServiceError(f"GitHub answered in a form that is not known here ({error!r})") from None


def pulls_of(github: GitHub, commit: str) -> tuple[PullRequest, ...]:
    """The pull requests that a commit is part of."""
    return tuple(_pull(each) for each in github.every(f"commits/{commit}/pulls"))


def evidence(github: GitHub, pull: PullRequest) -> Evidence:
    """Everything that decides about a pull request."""
    at = f"pulls/{pull.number}"
    whole = github.get(at)
    pull = _pull(whole)
    files = github.every(f"{at}/files")
    names = {name for each in files for name in (each["filename"], each.get("previous_filename")) if name}
    default = github.get("")["default_branch"]
    owner = pull.repository.partition("/")[0]
    same_branch = github.every("pulls", head=f"{owner}:{pull.branch}", state="all")
    events = github.every(f"issues/{pull.number}/events")
    return Evidence(
        pull,
        frozenset(names),
        whole["changed_files"] == len(files),
        {path: (_blob(github, path, pull.head), _blob(github, path, default)) for path in PLAN_FILES},
        tuple(_moment(each["created_at"]) for each in events if each["event"] in _POINTED),
        tuple(_pull(each) for each in same_branch if each["number"] != pull.number),
        _pushers(github, pull),
        tuple(_runs(github, pull)),
        tuple(_reviews(github, pull)),
    )


def _pushers(github: GitHub, pull: PullRequest) -> frozenset[str]:
    """Who pushed the last commit; asked for the branch first, since all pushes of a repository are many."""
    # That a branch which the merge has deleted keeps its activities is not documented, hence the second question.
    for query in ({"ref": f"refs/heads/{pull.branch}"}, {"time_period": "quarter"}):
        pushes = github.every("activity", **query)
        if found := {
            each["actor"]["login"] for each in pushes if each["after"] == pull.head and each["actor"]
        }:
            return frozenset(found)
    return frozenset()


def _blob(github: GitHub, path: str, ref: str) -> str:
    return str(github.get(f"contents/{path}", ref=ref)["sha"])


def _pull(told: Any) -> PullRequest:
    origin = told["head"]["repo"]
    return PullRequest(
        number=int(told["number"]),
        author=told["user"]["login"],
        base=told["base"]["ref"],
        head=told["head"]["sha"],
        branch=told["head"]["ref"],
        repository=origin["full_name"] if origin else "",
        opened=_moment(told["created_at"]),
        closed=_moment(told["closed_at"]) if told["closed_at"] else None,
        merged=bool(told["merged_at"]),
        merge_commit=told["merge_commit_sha"] or "",
    )


def _runs(github: GitHub, pull: PullRequest) -> Iterator[WorkflowRun]:
    """The runs of the plan workflow for the last commit, with what they recorded."""
    name = PLAN_WORKFLOW.rpartition("/")[2]
    for told in github.every(f"actions/workflows/{name}/runs", "workflow_runs", head_sha=pull.head):
        run = WorkflowRun(
            id=int(told["id"]),
            path=told["path"].partition("@")[0],
            event=told["event"],
            head=told["head_sha"],
            branch=told["head_branch"] or "",
            repository=(told["head_repository"] or {}).get("full_name", ""),
            created=_moment(told["created_at"]),
        )
        if is_plan_of(run, pull):
            yield _with_records(github, run)


def _with_records(github: GitHub, run: WorkflowRun) -> WorkflowRun:
    recorded = []
    for told in github.every(f"actions/runs/{run.id}/artifacts", "artifacts"):
        if found := _PLAN.fullmatch(told["name"]):
            recorded.append(Recorded(int(found[1]), found[2], _moment(told["created_at"])))
    return WorkflowRun(
        run.id, run.path, run.event, run.head, run.branch, run.repository, run.created, tuple(recorded)
    )


def _reviews(github: GitHub, pull: PullRequest) -> Iterator[Review]:
    may: dict[str, bool] = {}
    for told in github.every(f"pulls/{pull.number}/reviews"):
        user = told["user"] or {"login": "", "type": ""}  # an account that is gone
        login, state = user["login"], told["state"]
        if state == "PENDING":
            continue
        if state == "APPROVED" and login not in may:
            may[login] = user["type"] == "User" and _may_write(github, login)
        commit, at = told["commit_id"] or "", _moment(told["submitted_at"])
        yield Review(login, state, commit, at, may.get(login, False))


def _may_write(github: GitHub, login: str) -> bool:
    """Whether somebody may write; who maintains counts as who writes here."""
    found = github.maybe(f"collaborators/{quote(login, safe='')}/permission")
    return bool(found) and found["permission"] in ("admin", "write")


def gate(github: GitHub, run: str, ref: str, environment: str) -> Gate:
    """Who started a run by hand, and who approved its deployment."""
    told = github.get(f"actions/runs/{quote(run, safe='')}")
    given = github.every(f"actions/runs/{told['id']}/approvals")
    people = tuple(
        each["user"]["login"]
        for each in given
        if each["state"] == "approved"
        and each["user"]["type"] == "User"
        and environment in [one["name"] for one in each["environments"]]
    )
    starters = {told[who]["login"] for who in ("actor", "triggering_actor")}
    return Gate(frozenset(starters), ref, people)


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a time without a zone")
    return found
