"""A stand-in for GitHub: its interface for the real ``gh``, its permissions, and a runner of workflows."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reconciler import sandbox
from tests.scaffolds.installing import Installer, files
from tests.scaffolds.shell import Step, bash, resolved, with_python

BOT = "github-actions[bot]"
REPOSITORY = "example/pools"


@dataclass
class GitHub:
    """One repository's pull requests, comments and statuses."""

    socket: str
    pulls: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """By commit: the pull requests it is part of, as the service answers."""
    comments: list[dict[str, Any]] = field(default_factory=list)
    statuses: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """By commit, the newest first."""
    permissions: Mapping[str, str] = field(default_factory=dict)
    """What the token of the running job may do."""

    def merged(self, head: str, merge: str) -> None:
        """A pull request whose last commit is ``head`` becomes the commit ``merge``; another only holds it."""
        other = {"merge_commit_sha": "f" * 40, "head": {"sha": "e" * 40}}
        self.pulls[merge] = [other, {"merge_commit_sha": merge, "head": {"sha": head}}]

    def comment(self, who: str, body: str) -> None:
        """Somebody comments the pull request."""
        self.comments.append({"id": len(self.comments) + 1, "user": {"login": who}, "body": body})

    def status(self, sha: str, who: str, told: Mapping[str, Any]) -> None:
        """Somebody sets a status of a commit."""
        self.statuses.setdefault(sha, []).insert(0, {"creator": {"login": who}, **told})

    def routes(self) -> list[Route]:
        """What the workflows ask, each with the permission that GitHub documents for it."""
        base = f"/repos/{REPOSITORY}"
        return [
            Route(base + "/issues/5/comments", self._comments, methods=["GET", "POST"]),
            Route(base + "/issues/comments/{id:int}", self._edit, methods=["PATCH"]),
            Route(base + "/statuses/{sha}", self._set_status, methods=["POST"]),
            Route(base + "/commits/{sha}/statuses", self._get_statuses, methods=["GET"]),
            Route(base + "/commits/{sha}/pulls", self._get_pulls, methods=["GET"]),
        ]

    def _may(self, name: str, level: str) -> bool:
        return self.permissions.get(name) in ({"read", "write"} if level == "read" else {"write"})

    async def _comments(self, request: Request) -> Response:
        if not self._may("pull-requests", "write" if request.method == "POST" else "read"):
            return _forbidden()
        if request.method == "POST":
            self.comment(BOT, (await request.json())["body"])
            return JSONResponse(self.comments[-1], 201)
        # Pages of two, so that looking at the first alone would not find the comment.
        page = int(request.query_params.get("page", "1"))
        shown = self.comments[2 * page - 2 : 2 * page]
        following = f'<http://{request.url.netloc}{request.url.path}?page={page + 1}>; rel="next"'
        return JSONResponse(shown, headers={"Link": following} if self.comments[2 * page :] else {})

    async def _edit(self, request: Request) -> Response:
        if not self._may("pull-requests", "write"):
            return _forbidden()
        [found] = [each for each in self.comments if each["id"] == request.path_params["id"]]
        found["body"] = (await request.json())["body"]
        return JSONResponse(found)

    async def _set_status(self, request: Request) -> Response:
        if not self._may("statuses", "write"):
            return _forbidden()
        told = await request.json()
        assert len(told["description"]) <= 140, "longer than GitHub takes"
        self.status(request.path_params["sha"], BOT, told)
        return JSONResponse(told, 201)

    async def _get_statuses(self, request: Request) -> Response:
        if not self._may("statuses", "read"):
            return _forbidden()
        return JSONResponse(self.statuses.get(request.path_params["sha"], []))

    async def _get_pulls(self, request: Request) -> Response:
        if not self._may("pull-requests", "read"):
            return _forbidden()
        return JSONResponse(self.pulls.get(request.path_params["sha"], []))


def _forbidden() -> Response:
    return JSONResponse({"message": "Resource not accessible by integration"}, 403)


@contextmanager
def hosting() -> Iterator[GitHub]:
    """Serve a GitHub on a Unix socket, the one way that ``gh`` has to somewhere without TLS."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        github = GitHub(f"{folder}/github")
        listener.bind(github.socket)
        app = Starlette(routes=github.routes())
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, lifespan="off"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.005)
        try:
            yield github
        finally:
            server.should_exit = True
            thread.join(10)


@dataclass(frozen=True)
class Job:
    """What one run of a workflow left."""

    code: int
    log: str
    summary: str
    outputs: Mapping[str, str]


class Runner:
    """Runs the only job of a workflow on a machine that is new each time.

    With stored keys, as the headers describe it, since the identity provider of these tests is a machine of its own.
    """

    def __init__(
        self, folder: Path, github: GitHub, secrets: dict[str, dict[str, str]], installer: Installer
    ) -> None:
        self.checkout = folder / "checkout"
        (self.checkout / "manifests").mkdir(parents=True)
        self.env = {"GH_HOST": "github.localhost", "GH_CONFIG_DIR": str(folder / "gh")}
        (folder / "gh").mkdir()
        (folder / "gh" / "config.yml").write_text(f"http_unix_socket: {github.socket}\n")
        self.secrets = secrets
        self._folder, self._github = folder, github
        self._programs = with_python(folder / "bin")
        self._installer = installer
        self._runs = 0

    def pull_request(self, workflow: str, head: str) -> Job:
        """Run for a commit of pull request 5."""
        event = {"github.event.pull_request.number": "5", "github.event.pull_request.head.sha": head}
        return self._run(workflow, "pull_request", "0" * 40, event)

    def push(self, workflow: str, sha: str) -> Job:
        """Run for a commit that came to the branch main."""
        return self._run(workflow, "push", sha, {})

    def schedule(self, workflow: str) -> Job:
        """Run because it is time."""
        return self._run(workflow, "schedule", "0" * 40, {})

    def by_hand(self, workflow: str, **inputs: str) -> Job:
        """Run because a person started it."""
        given = {f"inputs.{name}": value for name, value in inputs.items()}
        return self._run(workflow, "workflow_dispatch", "0" * 40, given)

    def _run(self, workflow: str, event: str, sha: str, context: Mapping[str, str]) -> Job:
        told = yaml.safe_load(files("github")[f".github/workflows/{workflow}.yml"])
        assert event in told[True], f"{workflow} does not run on {event}"  # YAML 1.1 reads "on" as true
        assert told["defaults"]["run"]["shell"] == "bash"
        [job] = told["jobs"].values()
        self._github.permissions = job["permissions"]
        secrets = self.secrets[job["environment"]]
        known = {"github.token": "token", **{f"secrets.{name}": value for name, value in secrets.items()}}
        known["vars.RECONCILER_PROJECT_ID"] = sandbox.PROJECT_ID
        return self._job(with_stored_keys(job["steps"]), event, sha, {**known, **context})

    def _job(self, steps: list[dict[str, Any]], event: str, sha: str, context: dict[str, str]) -> Job:
        self._runs += 1
        machine = self._folder / f"machine-{self._runs}"
        (machine / "temp").mkdir(parents=True)
        output, summary = machine / "output", machine / "summary.md"
        summary.touch()
        always = self.env | {
            "HOME": str(machine),
            "RECONCILER_STATE_FOLDER": str(machine / "state"),
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": event,
            "GITHUB_OUTPUT": str(output),
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_RUN_ID": "1",
            "GITHUB_SERVER_URL": "https://github.invalid",
            "GITHUB_SHA": sha,
            "GITHUB_STEP_SUMMARY": str(summary),
            "RUNNER_TEMP": str(machine / "temp"),
        }
        log, outputs, ran, path = "", dict[str, str](), Step(0, ""), [self._programs]
        for step in steps:
            if "run" not in step or not _wanted(step, event):
                continue
            if step["name"] == "Install":
                assert "env" not in step
                made = self._installer.environment(step["run"])
                assert (made.parent.parent / "path").read_text() == f"{made}/bin\n"
                (machine / "temp" / "reconciler").symlink_to(made)
                path.append(machine / "temp" / "reconciler" / "bin")
                continue
            assert "${{" not in step["run"], "data of others must come through the environment"
            output.write_text("")
            env = {name: resolved(value, context) for name, value in step.get("env", {}).items()}
            ran = bash(step["run"], self.checkout, always | env, *path)
            log += ran.out
            if ran.code:
                break
            for line in output.read_text().splitlines():
                name, _, value = line.partition("=")
                outputs[name] = context[f"steps.{step['id']}.outputs.{name}"] = value
        return Job(ran.code, log, summary.read_text(), outputs)


def _wanted(step: Mapping[str, Any], event: str) -> bool:
    condition = step.get("if", "")
    assert condition in ("", "github.event_name == 'pull_request'"), condition
    return not condition or event == "pull_request"


def with_stored_keys(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The steps changed as the headers of the workflows say, for keys that are stored as secrets."""
    changed = []
    for step in steps:
        env = dict(step.get("env", {}))
        if any(name.startswith("HUAWEICLOUD_OIDC_") for name in env):
            env = {name: value for name, value in env.items() if not name.startswith("HUAWEICLOUD_OIDC_")}
            env["HUAWEICLOUD_SDK_AK"] = "${{ secrets.RECONCILER_AK }}"
            env["HUAWEICLOUD_SDK_SK"] = "${{ secrets.RECONCILER_SK }}"
        if step.get("name") != "Identity":
            changed.append({**step, "env": env} if env else step)
    return changed
