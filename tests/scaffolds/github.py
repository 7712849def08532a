"""A stand-in for GitHub: its interface for the real ``gh``, its permissions, and a runner of workflows."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import uvicorn
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reconciler import sandbox
from reconciler.cli.github import Ask, NotThere
from reconciler.errors import ServiceError
from tests.scaffolds.installing import Installer, files
from tests.scaffolds.shell import Step, bash, resolved, with_python

BOT = "github-actions[bot]"
REPOSITORY = "example/pools"


START = datetime(2026, 3, 2, 8, tzinfo=UTC)
HEAD, MERGE = "a" * 40, "b" * 40
PERMISSIONS = {"actions": "read", "contents": "read", "pull-requests": "read"}
"""Of the job that looks for an approved plan."""
PLAN_PATH = ".github/workflows/reconciler-plan.yml"


@dataclass
class GitHub:
    """One repository's pull requests, reviews and runs; a minute passes with each thing that somebody does."""

    socket: str
    pulls: dict[int, dict[str, Any]] = field(default_factory=dict)
    files: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    events: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    reviews: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    pushes: list[dict[str, Any]] = field(default_factory=list)
    forgotten: frozenset[str] = frozenset()
    """Branches whose pushes are listed only among all others."""
    runs: list[dict[str, Any]] = field(default_factory=list)
    artifacts: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    approvals: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    """By run: who let it deploy."""
    blobs: dict[tuple[str, str], str] = field(default_factory=dict)
    """By commit or branch, and path: another content than everywhere else."""
    rights: dict[str, str] = field(default_factory=dict)
    """By person: what they may do here, if not write."""
    comments: list[dict[str, Any]] = field(default_factory=list)
    issues: list[dict[str, Any]] = field(default_factory=list)
    dispatched: list[dict[str, Any]] = field(default_factory=list)
    """What was asked for to start workflows by hand, with the workflow."""
    settings: dict[str, Any] = field(default_factory=dict)
    """By address below the repository: what an administrator reads."""
    permissions: Mapping[str, str] = field(default_factory=lambda: PERMISSIONS)
    """What the token of the running job may do."""
    minutes: int = 0

    def now(self) -> str:
        """The time, a minute later than before."""
        self.minutes += 1
        return f"{START + timedelta(minutes=self.minutes):%Y-%m-%dT%H:%M:%SZ}"

    def opened(
        self,
        number: int = 5,
        head: str = HEAD,
        *,
        base: str = "main",
        branch: str = "change",
        by: str = "ann",
    ) -> None:
        """Somebody pushes a commit to a branch and opens a pull request of it."""
        self.pulls[number] = {
            "number": number,
            "user": {"login": by},
            "base": {"ref": base},
            "head": {"sha": head, "ref": branch, "repo": {"full_name": REPOSITORY}},
            "created_at": self.now(),
            "closed_at": None,
            "merged_at": None,
            "merge_commit_sha": "f" * 40,  # of a trial merge, while it is open
        }
        self.files[number] = [{"filename": "manifests/pools.yaml"}]
        self._push(branch, head, by)

    def pushed(self, head: str, by: str = "ann", number: int = 5) -> None:
        """Somebody pushes another commit, by force or not."""
        branch = self.pulls[number]["head"]["ref"]
        for each in self.pulls.values():
            if each["head"]["ref"] == branch and not each["closed_at"]:
                each["head"]["sha"] = head
        self._push(branch, head, by)

    def _push(self, branch: str, head: str, by: str) -> None:
        self.pushes.append(
            {"ref": f"refs/heads/{branch}", "after": head, "actor": {"login": by}, "timestamp": self.now()}
        )

    def pointed(self, base: str, number: int = 5, event: str = "base_ref_changed") -> None:
        """Somebody lets a pull request be for another branch."""
        self.pulls[number]["base"]["ref"] = base
        self.events.setdefault(number, []).append({"event": event, "created_at": self.now()})

    def run(self, head: str = HEAD, number: int = 5, **other: Any) -> int:
        """A run of the plan workflow begins for a commit of a pull request; its id."""
        self.runs.append(
            {
                "id": 100 + len(self.runs),
                "path": PLAN_PATH,
                "event": "pull_request",
                "head_sha": head,
                "head_branch": self.pulls.get(number, {"head": {"ref": "main"}})["head"]["ref"],
                "head_repository": {"full_name": REPOSITORY},
                "created_at": self.now(),
                "actor": {"login": "ann"},
                "triggering_actor": {"login": "ann"},
                **other,
            }
        )
        return int(self.runs[-1]["id"])

    def record(self, run: int, name: str) -> None:
        """A job of a run uploads an artifact."""
        self.artifacts.setdefault(run, []).append({"name": name, "created_at": self.now()})

    def planned(self, digest: str = "d" * 64, code: int = 0, head: str = HEAD, **other: Any) -> int:
        """The plan workflow runs for a commit, and records its plan."""
        run = self.run(head, **other)
        self.record(run, f"plan-{code}-{digest}-1")
        return run

    def reviewed(
        self,
        by: str = "bob",
        head: str = HEAD,
        *,
        state: str = "APPROVED",
        number: int = 5,
        kind: str = "User",
    ) -> None:
        """Somebody reviews a commit of a pull request."""
        self.reviews.setdefault(number, []).append(
            {
                "user": {"login": by, "type": kind},
                "state": state,
                "commit_id": head,
                "submitted_at": self.now(),
            }
        )

    def merged(self, merge: str = MERGE, number: int = 5) -> None:
        """A pull request becomes a commit of its base, by a merge, squashed or rebased."""
        now = self.now()
        self.pulls[number] |= {"merge_commit_sha": merge, "merged_at": now, "closed_at": now}

    def approved_run(self, run: int, by: str, environment: str = "production") -> None:
        """Somebody lets the jobs of a run use an environment."""
        self.approvals.setdefault(run, []).append(
            {
                "state": "approved",
                "user": {"login": by, "type": "User"},
                "environments": [{"name": environment}],
            }
        )

    def comment(self, who: str, body: str) -> None:
        """Somebody comments the pull request."""
        self.comments.append({"id": len(self.comments) + 1, "user": {"login": who}, "body": body})

    def issue(self, who: str, **told: Any) -> None:
        """Somebody opens an issue."""
        number = 50 + len(self.issues)
        self.issues.append({"number": number, "user": {"login": who}, "state": "open", **told})

    def routes(self) -> list[Route]:
        """What the workflows ask, each with the permission that GitHub documents for it."""
        base = f"/repos/{REPOSITORY}"

        def get(path: str, right: str, answer: Callable[[Request], Any], key: str = "") -> Route:
            async def handle(request: Request) -> Response:
                if right and not self._may(right, "read"):
                    return _forbidden()
                try:
                    found = answer(request)
                except KeyError:
                    return JSONResponse({"message": "Not Found"}, 404)
                return _page(request, found, key) if isinstance(found, list) else JSONResponse(found)

            return Route(base + path, handle, methods=["GET"])

        def number(request: Request) -> int:
            return int(request.path_params["id"])

        return [
            Route(base + "/issues", self._issues, methods=["GET", "POST"]),
            Route(base + "/issues/{id:int}", self._change_issue, methods=["PATCH"]),
            get("/issues/{id:int}", "issues", lambda it: self._issue(number(it))),
            Route(base + "/actions/workflows/{name}/dispatches", self._dispatch, methods=["POST"]),
            Route(base + "/issues/5/comments", self._comments, methods=["GET", "POST"]),
            Route(base + "/issues/comments/{id:int}", self._edit, methods=["PATCH"]),
            get("/commits/{sha}/pulls", "pull-requests", self._pulls_of),
            get("/pulls", "pull-requests", self._pulls_from),
            get("/pulls/{id:int}", "pull-requests", lambda it: self._whole(number(it))),
            get("/pulls/{id:int}/files", "pull-requests", lambda it: self.files[number(it)]),
            get("/pulls/{id:int}/reviews", "pull-requests", lambda it: self.reviews.get(number(it), [])),
            get("/issues/{id:int}/events", "pull-requests", lambda it: self.events.get(number(it), [])),
            get("/activity", "contents", self._activity),
            get("/contents/{path:path}", "contents", self._contents),
            get("/actions/workflows/{name}/runs", "actions", self._workflow_runs, "workflow_runs"),
            get("/actions/runs/{id:int}", "actions", lambda it: self._run(number(it))),
            get("/actions/runs/{id:int}/artifacts", "actions", self._artifacts, "artifacts"),
            get("/actions/runs/{id:int}/approvals", "actions", lambda it: self.approvals.get(number(it), [])),
            get("/collaborators/{login}/permission", "", self._right),
            get("/{path:path}", "", lambda it: self.settings[it.path_params["path"]]),
            get("", "", lambda _: {"default_branch": "main", "full_name": REPOSITORY}),
        ]

    def _pulls_of(self, request: Request) -> list[dict[str, Any]]:
        sha = request.path_params["sha"]
        return [
            each for each in self.pulls.values() if sha in (each["merge_commit_sha"], each["head"]["sha"])
        ]

    def _pulls_from(self, request: Request) -> list[dict[str, Any]]:
        owner, _, branch = request.query_params["head"].partition(":")
        assert (owner, request.query_params["state"]) == (REPOSITORY.partition("/")[0], "all")
        return [each for each in self.pulls.values() if each["head"]["ref"] == branch]

    def _whole(self, number: int) -> dict[str, Any]:
        return {"changed_files": len(self.files[number]), **self.pulls[number]}

    def _activity(self, request: Request) -> list[dict[str, Any]]:
        wanted = request.query_params.get("ref")
        kept = [each for each in self.pushes if each["ref"] not in self.forgotten or not wanted]
        return [each for each in kept if wanted in (None, each["ref"])][::-1]

    def _contents(self, request: Request) -> dict[str, Any]:
        path = request.path_params["path"]
        return {"sha": self.blobs.get((request.query_params["ref"], path), "0" * 40)}

    def _workflow_runs(self, request: Request) -> list[dict[str, Any]]:
        name, head = request.path_params["name"], request.query_params["head_sha"]
        return [each for each in self.runs if each["path"].endswith(name) and each["head_sha"] == head][::-1]

    def _run(self, number: int) -> dict[str, Any]:
        return {each["id"]: each for each in self.runs}[number]

    def _artifacts(self, request: Request) -> list[dict[str, Any]]:
        return self.artifacts.get(int(request.path_params["id"]), [])

    def _right(self, request: Request) -> dict[str, Any]:
        return {"permission": self.rights.get(request.path_params["login"], "write")}

    def _may(self, name: str, level: str) -> bool:
        return self.permissions.get(name) in ({"read", "write"} if level == "read" else {"write"})

    async def _comments(self, request: Request) -> Response:
        if not self._may("pull-requests", "write" if request.method == "POST" else "read"):
            return _forbidden()
        if request.method == "POST":
            self.comment(BOT, (await request.json())["body"])
            return JSONResponse(self.comments[-1], 201)
        return _page(request, self.comments)

    async def _issues(self, request: Request) -> Response:
        if not self._may("issues", "write" if request.method == "POST" else "read"):
            return _forbidden()
        if request.method == "POST":
            self.issue(BOT, **await request.json())
            return JSONResponse(self.issues[-1], 201)
        wanted = request.query_params
        return _page(
            request,
            [
                each
                for each in self.issues
                if each["state"] == wanted["state"] and wanted["labels"] in each["labels"]
            ],
        )

    def _issue(self, number: int) -> dict[str, Any]:
        return {each["number"]: each for each in self.issues}[number]

    async def _change_issue(self, request: Request) -> Response:
        if not self._may("issues", "write"):
            return _forbidden()
        [found] = [each for each in self.issues if each["number"] == request.path_params["id"]]
        found |= await request.json()
        return JSONResponse(found)

    async def _dispatch(self, request: Request) -> Response:
        if not self._may("actions", "write"):
            return _forbidden()
        self.dispatched.append({"workflow": request.path_params["name"], **await request.json()})
        return Response(status_code=204)

    async def _edit(self, request: Request) -> Response:
        if not self._may("pull-requests", "write"):
            return _forbidden()
        [found] = [each for each in self.comments if each["id"] == request.path_params["id"]]
        found["body"] = (await request.json())["body"]
        return JSONResponse(found)


def _page(request: Request, every: list[Any], key: str = "") -> Response:
    """Pages of two, so that looking at the first alone would not find everything."""
    page = int(request.query_params.get("page", "1"))
    shown: Any = every[2 * page - 2 : 2 * page]
    following = f'<{request.url.include_query_params(page=page + 1)}>; rel="next"'
    answer = {"total_count": len(every), key: shown} if key else shown
    return JSONResponse(answer, headers={"Link": following} if every[2 * page :] else {})


def _forbidden() -> Response:
    return JSONResponse({"message": "Resource not accessible by integration"}, 403)


def asking(github: GitHub) -> Ask:
    """Ask a GitHub without ``gh``, which costs more than all the rest; one test of each kind uses the real one."""
    app = Starlette(routes=github.routes())

    async def documents(address: str, pages: bool) -> list[Any]:
        found, following = list[Any](), f"/{address}"
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://github.localhost"
        ) as client:
            while following:
                answer = await client.get(following)
                if answer.is_error:
                    raise (NotThere if answer.status_code == 404 else ServiceError)(answer.text)
                found.append(answer.json())
                following = answer.links.get("next", {}).get("url", "") if pages else ""
        return found

    return lambda address, pages: asyncio.run(documents(address, pages))


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


def asked_by_gh(folder: Path, github: GitHub) -> dict[str, str]:
    """The environment in which the real ``gh`` asks this one; its settings are kept in a folder of this folder."""
    (folder / "gh").mkdir()
    (folder / "gh" / "config.yml").write_text(f"http_unix_socket: {github.socket}\n")
    # It is written in Go, whose collector of garbage takes a tenth of what it does here.
    return {"GH_HOST": "github.localhost", "GH_CONFIG_DIR": str(folder / "gh"), "GOGC": "off"}


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
        self.env = asked_by_gh(folder, github)
        self.secrets = secrets
        self.variables: dict[str, str] = {}
        """Those of the repository."""
        self._folder, self._github = folder, github
        self._programs = with_python(folder / "bin")
        self._installer = installer
        self._runs = self._attempts = 0

    def pull_request(self, workflow: str, head: str, *, again: int = 0) -> Job:
        """Run for a commit of pull request 5, or let that run run again."""
        event = {"github.event.pull_request.number": "5", "github.event.pull_request.head.sha": head}
        return self._run(workflow, "pull_request", "0" * 40, event, again or self._github.run(head))

    def push(self, workflow: str, sha: str) -> Job:
        """Run for a commit that came to the branch main."""
        return self._run(workflow, "push", sha, {})

    def schedule(self, workflow: str) -> Job:
        """Run because it is time."""
        return self._run(workflow, "schedule", "0" * 40, {})

    def by_hand(self, workflow: str, approver: str = "", **inputs: str) -> Job:
        """Run because a person started it; ``approver`` lets it deploy."""
        given = {f"inputs.{name}": value for name, value in inputs.items()}
        run = self._github.run(event="workflow_dispatch", path=f".github/workflows/{workflow}.yml")
        if approver:
            self._github.approved_run(run, approver)
        return self._run(workflow, "workflow_dispatch", "0" * 40, given, run)

    def cancelled(self, workflow: str, sha: str = "", digest: str = "") -> Job:
        """What runs when the apply of a commit, or of a digest, was cancelled in the queue."""
        told = yaml.safe_load(files("github")[f".github/workflows/{workflow}.yml"])
        job = told["jobs"]["cancelled"]
        assert job["needs"] == "apply"
        assert "concurrency" not in told, "would cancel this job, too"
        self._github.permissions = job["permissions"]
        assert job["if"] == "always() && needs.apply.result == 'cancelled'"
        event = "push" if sha else "workflow_dispatch"
        return self._job(job["steps"], event, sha, {"github.token": "token", "inputs.digest": digest}, 1)

    def _run(self, workflow: str, event: str, sha: str, context: Mapping[str, str], run: int = 1) -> Job:
        told = yaml.safe_load(files("github")[f".github/workflows/{workflow}.yml"])
        assert event in told[True], f"{workflow} does not run on {event}"  # YAML 1.1 reads "on" as true
        assert told["defaults"]["run"]["shell"] == "bash"
        job = next(iter(told["jobs"].values()))
        self._github.permissions = job["permissions"]
        secrets = self.secrets[job["environment"]]
        known = {"github.token": "token", **{f"secrets.{name}": value for name, value in secrets.items()}}
        known["vars.RECONCILER_PROJECT_ID"] = sandbox.PROJECT_ID
        known |= {f"vars.{name}": value for name, value in self.variables.items()}
        return self._job(with_stored_keys(job["steps"]), event, sha, {**known, **context}, run)

    def _upload(self, given: Mapping[str, str], run: int, context: Mapping[str, str]) -> None:
        """Make an artifact, where there is anything to put into it."""
        self._attempts += 1
        name = resolved(given["name"], {**context, "github.run_attempt": str(self._attempts)})
        if any(Path(path).exists() for path in resolved(given["path"], context).split()):
            self._github.record(run, name)

    def _job(
        self, steps: list[dict[str, Any]], event: str, sha: str, context: dict[str, str], run: int
    ) -> Job:
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
            "GITHUB_REF": "refs/pull/5/merge" if event == "pull_request" else "refs/heads/main",
            "GITHUB_RUN_ID": str(run),
            "GITHUB_SERVER_URL": "https://github.invalid",
            "GITHUB_SHA": sha,
            "GITHUB_STEP_SUMMARY": str(summary),
            "RUNNER_TEMP": str(machine / "temp"),
        }
        log, outputs, ran, path = "", dict[str, str](), Step(0, ""), [self._programs]
        for step in steps:
            if not _wanted(step, event, context):
                continue
            if step.get("uses", "").startswith("actions/upload-artifact@"):
                self._upload(step["with"], run, {**context, "runner.temp": str(machine / "temp")})
            if "run" not in step:
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
                outputs[name] = value
                if "id" in step:  # what other steps cannot name, they cannot read
                    context[f"steps.{step['id']}.outputs.{name}"] = value
        return Job(ran.code, log, summary.read_text(), outputs)


def _wanted(step: Mapping[str, Any], event: str, context: Mapping[str, str]) -> bool:
    condition = step.get("if", "")
    events = {
        f"github.event_name == '{each}'": each for each in ("pull_request", "push", "workflow_dispatch")
    }
    assert condition in (*events, "", "inputs.approvals == ''", "inputs.disk != ''"), condition
    if condition == "inputs.disk != ''":
        return bool(context.get("inputs.disk"))
    if condition.startswith("inputs"):
        return not context.get("inputs.approvals")
    return not condition or event == events[condition]


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
