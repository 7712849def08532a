"""The HTTP face of the simulated service: routes, request ids, authentication, budgets, and the record.

``operations``, ``identity`` and ``agencies`` decide what each operation answers. Starlette is imported only when an
app is made, so that importing this module costs nothing.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from . import agencies, auth, errors, identity, operations
from .errors import Refusal, SandboxError
from .operations import Call, Encoded, Handler, encode
from .store import Store
from .world import World

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

IN_PROCESS_BASE_URL: Final = "https://reconciler-sandbox.invalid"
"""Base URL of an app used in process: a host that can never be reached by mistake."""
IN_PROCESS_JOB_SECONDS: Final = 1.5
WORLD_HEADER: Final = "X-Reconciler-Sandbox"
"""Every answer carries it, with the name of the world: no real service does."""
MAX_BODY: Final = 12 * 1024 * 1024
"""Bytes (documented)."""


class Operation(Struct, frozen=True):
    """One operation of the desktop service."""

    name: str
    """What an account's ``denied`` calls it."""
    method: str
    path: str
    """Below ``/v2/{project_id}``."""
    handler: Handler

    @property
    def reads(self) -> bool:
        """Whether it leaves the world as it is."""
        return self.method == "GET"


_POOL: Final = "/desktop-pools/{pool_id}"
OPERATIONS: Final = (
    Operation("list-pools", "GET", "/desktop-pools", operations.list_pools),
    Operation("show-pool", "GET", _POOL, operations.show_pool),
    Operation("list-desktops", "GET", _POOL + "/desktops", operations.list_desktops),
    Operation(
        "inconsistent-statics", "GET", _POOL + "/inconsistent-statics", operations.inconsistent_statics
    ),
    Operation("batch-delete", "POST", _POOL + "/volumes/batch-delete", operations.changing("delete")),
    Operation("batch-add", "POST", _POOL + "/volumes/batch-add", operations.changing("add")),
    Operation("batch-expand", "POST", _POOL + "/volumes/batch-expand", operations.changing("expand")),
    Operation("send-notifications", "POST", _POOL + "/notifications", operations.send_notifications),
    Operation("show-job", "GET", "/workspace-jobs/{job_id}", operations.show_job),
    Operation("retry-job", "POST", "/workspace-jobs/{job_id}/actions", operations.retry_job),
    Operation("list-sub-jobs", "GET", "/workspace-sub-jobs", operations.list_sub_jobs),
)

LIST_BACKUPS: Final = Operation("list-backups", "GET", "/backups", operations.list_backups)
"""The one operation of the backup service, below ``/v3/{project_id}``."""


class Answer(Struct, frozen=True):
    """What goes back."""

    status: int
    body: bytes
    document: object = None
    """The body as data, for the record."""
    headers: Mapping[str, str] = field(default_factory=dict)


Apart = Callable[[World, auth.Incoming, float], Answer]
"""Answers what is not the desktop service's own business."""


class Service:
    """One running face of a world; keeps only what may be forgotten."""

    def __init__(
        self, store: Store, clock: Callable[[], float], job_seconds: float, budget: int | None
    ) -> None:
        self._store = store
        self._clock = clock
        self._job_seconds = job_seconds
        self._budget = budget
        self._count = 0
        self._encoded: dict[str, Encoded] = {}
        self._calls: dict[tuple[str, str], deque[float]] = {}

    def workspace(self, operation: Operation, incoming: auth.Incoming, path: Mapping[str, str]) -> Answer:
        """Answer a request to the desktop service; a mutating one leaves an entry in the record."""
        now = self._clock()
        request_id = uuid.uuid4().hex
        if operation.reads:
            with self._store.reading(now) as world:
                answer, _ = self._attempt(world, operation, incoming, path, now)
                return self._finish(world, request_id, answer)
        with self._store.changing(now) as world:
            answer, user = self._attempt(world, operation, incoming, path, now)
            answer = self._finish(world, request_id, answer)
            world["record"].append(
                {
                    "time": now,
                    "request_id": request_id,
                    "method": incoming.method,
                    "path": incoming.path,
                    "body": _readable(incoming.body),
                    "status": answer.status,
                    "answer": _readable(answer.body),
                    "user": user,
                }
            )
        return answer

    def _attempt(
        self, world: World, operation: Operation, incoming: auth.Incoming, path: Mapping[str, str], now: float
    ) -> tuple[Answer, str]:
        user = ""
        try:
            _check_size(incoming)
            account, reach = auth.authenticate(world, incoming, now)
            user = account["user"] or account["access_key"]
            self._spend(user, operation, now)
            auth.check_project(incoming, path["project_id"], reach)
            if operation.name in account["denied"]:
                raise errors.denied(operation.name)
            self._count += 1
            call = Call(
                world=world,
                project=world["projects"][path["project_id"]],
                query=operations.parse_query(incoming.query),
                path=path,
                body=incoming.body,
                content_type=incoming.headers.get("content-type", ""),
                now=now,
                count=self._count,
                job_seconds=self._job_seconds,
                encoded=self._encoded,
            )
            return Answer(200, operation.handler(call)), user
        except Refusal as refusal:
            return _refused(refusal), user

    def misdirected(self, status: int) -> Answer:
        """Answer a path nobody serves (404), or a method it does not take (405)."""

        def attempt(_world: World, _now: float) -> Answer:
            if status == 405:
                raise errors.gateway(405, "0201", "The method is not allowed")
            raise errors.gateway(404, "0101", "The API does not exist or has not been published")

        return self.apart(attempt)

    def apart(self, attempt: Callable[[World, float], Answer]) -> Answer:
        """Answer what is not the desktop service's own business."""
        now = self._clock()
        with self._store.reading(now) as world:
            try:
                answer = attempt(world, now)
            except Refusal as refusal:
                answer = _refused(refusal)
            return self._finish(world, uuid.uuid4().hex, answer)

    def _spend(self, user: str, operation: Operation, now: float) -> None:
        if self._budget is None:
            return
        calls = self._calls.setdefault((user, operation.name), deque())
        while calls and calls[0] <= now - 60:
            calls.popleft()
        calls.append(now)  # a refused request counts as well, as field notes say of the real service
        if len(calls) > self._budget:
            message = f"policy user over ratelimit,limit:{self._budget},time:1 minute"
            raise errors.gateway(429, "0308", f"The throttling threshold has been reached: {message}")

    def _finish(self, world: World, request_id: str, answer: Answer) -> Answer:
        body = answer.body
        if isinstance(answer.document, dict):
            gateway = str(answer.document.get("error_code", "")).startswith("APIGW.")
            body = encode(answer.document | ({"request_id": request_id} if gateway else {}))
        headers = {
            **answer.headers,
            "X-Request-Id": request_id,
            WORLD_HEADER: self._store.name_of(world),
            "Date": formatdate(self._clock(), usegmt=True),
        }
        return Answer(answer.status, body, headers=headers)


def create_app(
    store: Store,
    *,
    clock: Callable[[], float] = time.time,
    job_seconds: float = IN_PROCESS_JOB_SECONDS,
    budget: int | None = None,
) -> Starlette:
    """The service as an ASGI app, whose jobs take ``job_seconds``; ``clock`` gives seconds since the epoch.

    ``budget`` is the number of calls a minute that each user has for each operation (documented: 200 reads,
    100 writes); beyond it 429 answers. Without it there is no limit.
    """
    from starlette.applications import Starlette  # noqa: PLC0415 - see the module's first lines
    from starlette.responses import Response  # noqa: PLC0415
    from starlette.routing import Route  # noqa: PLC0415

    service = Service(store, clock, job_seconds, budget)

    def respond(answer: Answer) -> Response:
        return Response(answer.body, answer.status, answer.headers, media_type="application/json")

    def route(operation: Operation, version: str = "v2") -> Route:
        async def endpoint(request: Request) -> Response:
            incoming = await _incoming(request)
            return respond(service.workspace(operation, incoming, request.path_params))

        path = f"/{version}/{{project_id}}{operation.path}"
        return Route(path, endpoint, methods=[operation.method], name=operation.name)

    def apart(method: str, path: str, answer: Apart) -> Route:
        async def endpoint(request: Request) -> Response:
            incoming = await _incoming(request)
            return respond(service.apart(lambda world, now: answer(world, incoming, now)))

        return Route(path, endpoint, methods=[method])

    async def misdirected(_: Request, trouble: Exception) -> Response:
        return respond(service.misdirected(getattr(trouble, "status_code", 404)))

    async def unusable(_: Request, trouble: Exception) -> Response:
        return respond(Answer(500, encode({"error_code": "WKS.0500", "error_msg": str(trouble)})))

    app = Starlette(
        routes=[
            *(route(operation) for operation in OPERATIONS),
            route(LIST_BACKUPS, "v3"),
            apart("POST", "/v3/auth/tokens", _log_in),
            apart("GET", "/v3/projects", _list_projects),
            apart("POST", "/v3.0/OS-CREDENTIAL/securitytokens", _assume),
            apart("POST", "/v5/agencies/assume-with-oidc", _assume_with_oidc),
        ],
        exception_handlers={404: misdirected, 405: misdirected, SandboxError: unusable},
    )
    app.router.redirect_slashes = False  # the real service does not redirect
    return app


def _log_in(world: World, incoming: auth.Incoming, now: float) -> Answer:
    token, document = identity.log_in(world, _document(incoming), now)
    return Answer(201, encode(document), headers={"X-Subject-Token": token})


def _list_projects(world: World, incoming: auth.Incoming, now: float) -> Answer:
    return Answer(200, encode(agencies.list_projects(world, incoming, now)))


def _assume(world: World, incoming: auth.Incoming, now: float) -> Answer:
    return Answer(201, encode(agencies.assume(world, incoming, _document(incoming), now)))


def _assume_with_oidc(world: World, incoming: auth.Incoming, now: float) -> Answer:
    return Answer(200, encode(agencies.assume_with_oidc(world, _document(incoming), now)))


async def _incoming(request: Request) -> auth.Incoming:
    scope = request.scope
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    headers = {name.decode("latin-1"): _text(value) for name, value in scope["headers"]}
    body = await request.body()
    query = scope["query_string"].decode("latin-1")
    return auth.Incoming(scope["method"], raw_path.decode("latin-1"), query, headers, body)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _refused(refusal: Refusal) -> Answer:
    return Answer(refusal.status, b"", refusal.body)


def _document(incoming: auth.Incoming) -> object:
    try:
        return operations.parse_document(incoming.body)
    except (ValueError, RecursionError):
        raise errors.identity(400, "The request body is no JSON document.") from None


def _check_size(incoming: auth.Incoming) -> None:
    if len(incoming.body) > MAX_BODY:
        raise errors.gateway(413, "0201", "Request entity too large")


def _readable(body: bytes) -> object:
    try:
        return operations.parse_document(body)
    except (ValueError, RecursionError):
        return body[:1000].decode(errors="replace")
