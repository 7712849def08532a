"""Owns the endpoints of the simulated service, as an ASGI application."""

from __future__ import annotations

import json
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from . import auth, errors, view
from .changes import set_attributes, submit
from .store import SandboxError, Store
from .world import JOB_TYPES, Account, Kind, Pool, World, derived_id

Answer = tuple[int, object]
Handler = Callable[[World, Account, HttpRequest, bytes, float], Answer]

KINDS: dict[str, Kind] = {"batch-delete": "delete", "batch-add": "add", "batch-expand": "expand"}
HEADER = "X-Reconciler-Sandbox"


class Service:
    """The service over one store."""

    def __init__(
        self, store: Store, clock: Callable[[], float], job_seconds: float, budget: int | None
    ) -> None:
        self._store = store
        self._clock = clock
        self._job_seconds = job_seconds
        self._budget = budget
        self._calls: dict[str, deque[float]] = {}
        self._serial = 0
        self._pages: dict[tuple[object, ...], bytes] = {}
        self.requests: Counter[str] = Counter()
        """Requests by operation, for whoever counts them."""

    def route(self, path: str, method: str, name: str, handler: Handler) -> Route:
        """One authenticated operation of the service."""

        async def endpoint(request: HttpRequest) -> Response:
            return await self._answer(name, handler, request, writes=method != "GET")

        return Route(path, endpoint, methods=[method], name=name)

    async def _answer(self, name: str, handler: Handler, request: HttpRequest, *, writes: bool) -> Response:
        self._serial += 1
        self.requests[name] += 1
        now = self._clock()
        body = await request.body()
        request_id = derived_id("request", now, self._serial)
        user = ""
        with (self._store.changing if writes else self._store.reading)(now) as world:
            try:
                self._within_budget(name, now)
                account = auth.check(world, _signed(request, body), request.path_params["project_id"], now)
                user = account["user"]
                if name in account["denied"]:
                    raise errors.denied(name)
                status, told = handler(world, account, request, body, now)
            except errors.Refusal as refusal:
                status, told = refusal.status, refusal.body
                if str(refusal.body.get("error_code", "")).startswith("APIGW."):
                    told = {**refusal.body, "request_id": request_id}
            if writes:
                world["record"].append(
                    {
                        "time": now,
                        "request_id": request_id,
                        "method": request.method,
                        "path": request.url.path,
                        "body": _parsed(body),
                        "status": status,
                        "answer": told,
                        "user": user,
                    }
                )
            headers = {"X-Request-Id": request_id, HEADER: world["name"]}
        if isinstance(told, bytes):
            return Response(told, status, headers, "application/json")
        return JSONResponse(told, status, headers)

    def _within_budget(self, name: str, now: float) -> None:
        if self._budget is None:
            return
        calls = self._calls.setdefault(name, deque())
        while calls and calls[0] <= now - 60:
            calls.popleft()
        calls.append(now)  # a refused call counts as well, as field notes say of the real one
        if len(calls) > self._budget:
            message = "The throttling threshold has been reached: policy user over ratelimit"
            raise errors.gateway(429, "0308", f"{message},limit:{self._budget},time:1 minute")

    # -- operations ------------------------------------------------------------------------------

    def list_pools(
        self, world: World, _account: Account, request: HttpRequest, _body: bytes, _now: float
    ) -> Answer:
        """ListDesktopPools: pools with their disks; the name filter is fuzzy (observed)."""
        pools = world["projects"][request.path_params["project_id"]]["pools"]
        offset, limit = _span(request, 1000, 1000, 20_000)
        name = request.query_params.get("name", "")
        key = (id(world), name, offset, limit, len(pools), sum(each["revision"] for each in pools.values()))
        # Ten thousand pools are 25 MB: rendered once, not once a request, while nothing changes.
        if len(pools) >= 1000 and not world["running"] and key in self._pages:
            return 200, self._pages[key]
        shuffle = random.Random(self._serial)
        chosen = [each for each in pools.values() if name in each["name"]]
        if len(chosen) <= limit:
            shuffle.shuffle(chosen)
        told = {
            "total_count": len(chosen),
            "desktop_pools": [view.pool(world, each, shuffle) for each in chosen[offset : offset + limit]],
        }
        if len(pools) < 1000:
            return 200, told
        self._pages[key] = json.dumps(told, separators=(",", ":")).encode()
        return 200, self._pages[key]

    def show_pool(
        self, world: World, _account: Account, request: HttpRequest, _body: bytes, _now: float
    ) -> Answer:
        """ShowDesktopPoolDetail."""
        return 200, view.pool(world, _pool(world, request), random.Random(self._serial))

    def list_desktops(
        self, world: World, _account: Account, request: HttpRequest, _body: bytes, _now: float
    ) -> Answer:
        """ListPoolDesktopsDetail: ten a page unless asked otherwise (documented)."""
        pool = _pool(world, request)
        offset, limit = _span(request, 10, 100, 10_000)
        wanted = request.query_params.get("inconsistent_type", "").lower()
        attached = request.query_params.get("user_attached", "")
        chosen = [
            each
            for each in pool["desktops"]
            if (not wanted or wanted in view.inconsistencies(pool, each))
            and (not attached or (attached == "true") == bool(each["users"]))
        ]
        shuffle = random.Random(self._serial)
        shown = [view.desktop(pool, each, shuffle) for each in chosen[offset : offset + limit]]
        return 200, {"total_count": len(chosen), "pool_desktops": shown}

    def statics(
        self, world: World, _account: Account, request: HttpRequest, _body: bytes, _now: float
    ) -> Answer:
        """ListInconsistentStatics: how many desktops differ from the pool, by kind of difference."""
        pool = _pool(world, request)
        found = Counter(kind for each in pool["desktops"] for kind in view.inconsistencies(pool, each))
        kinds = ("product_id", "image_id", "disk_num", "disk_size")
        return 200, {kind: found[kind] for kind in kinds}

    def change(
        self, world: World, _account: Account, request: HttpRequest, body: bytes, now: float
    ) -> Answer:
        """DeleteDesktopPoolVolumes, AddDesktopPoolVolumes, ExpandDesktopPoolVolumes: 200 with a job."""
        pool = _pool(world, request)
        seconds = pool["behaviour"].get("seconds", self._job_seconds)
        job = submit(world, pool, KINDS[request.path_params["verb"]], _json(body), (now, now + seconds))
        return 200, {"job_id": job["id"]}

    def update_pool(
        self, world: World, _account: Account, request: HttpRequest, body: bytes, _now: float
    ) -> Answer:
        """UpdateDesktopPool: attributes of existing disks only."""
        set_attributes(world, _pool(world, request), _json(body))
        return 200, {}

    def show_job(
        self, world: World, _account: Account, request: HttpRequest, _body: bytes, now: float
    ) -> Answer:
        """ShowJob: 404 when unknown."""
        job = world["jobs"].get(request.path_params["job_id"])
        if job is None or job["project_id"] != request.path_params["project_id"]:
            raise errors.unknown_job(request.path_params["job_id"])
        return 200, view.job(world, job, now)

    def list_sub_jobs(
        self, world: World, _account: Account, request: HttpRequest, _body: bytes, now: float
    ) -> Answer:
        """ListItaSubJobs: filters by status (repeatable), job, type and pool."""
        offset, limit = _span(request, 1000, 1000, 10_000)
        statuses = set(request.query_params.getlist("status"))
        query: Mapping[str, str] = request.query_params
        shown = [
            sub
            for job in world["jobs"].values()
            if job["project_id"] == request.path_params["project_id"]
            and query.get("job_id", job["id"]) == job["id"]
            and query.get("desktop_pool_id", job["pool_id"]) == job["pool_id"]
            and query.get("job_type", JOB_TYPES[job["kind"]]) == JOB_TYPES[job["kind"]]
            for sub in view.sub_jobs(world, job, now)
            if not statuses or sub["status"] in statuses
        ]
        return 200, {"total_count": len(shown), "jobs": shown[offset : offset + limit]}

    # -- outside authentication ------------------------------------------------------------------

    async def hello(self, _request: HttpRequest) -> Response:
        """Who answers here."""
        with self._store.reading(self._clock()) as world:
            return JSONResponse({"sandbox": world["name"]}, headers={HEADER: world["name"]})

    async def login(self, request: HttpRequest) -> Response:
        """POST /v3/auth/tokens: a token in X-Subject-Token for a right user, password, domain and project."""
        told = _parsed(await request.body())
        with self._store.reading(self._clock()) as world:
            headers = {HEADER: world["name"]}
            try:
                user, project = _login(told)
                account = next((each for each in world["accounts"] if _is(each, user)), None)
                if account is None:
                    raise errors.identity(401, "The username or password is wrong.")
                if project not in account["projects"]:
                    raise errors.identity(401, "The token is not allowed for this project.")
            except errors.Refusal as refusal:
                return JSONResponse(refusal.body, refusal.status, headers)
            headers["X-Subject-Token"] = auth.issued_token(account)
            return JSONResponse({"token": {"user": {"name": account["user"]}}}, 201, headers)


def create_app(
    store: Store,
    *,
    clock: Callable[[], float] = time.time,
    job_seconds: float = 1.5,
    budget: int | None = None,
) -> Starlette:
    """The service over ``store``; jobs take ``job_seconds``; ``budget`` calls a minute and operation, or no limit."""
    service = Service(store, clock, job_seconds, budget)
    root = "/v2/{project_id}"
    pool = f"{root}/desktop-pools/{{pool_id}}"
    routes = [
        Route("/", service.hello),
        Route("/v3/auth/tokens", service.login, methods=["POST"]),
        service.route(f"{root}/desktop-pools", "GET", "list", service.list_pools),
        service.route(pool, "GET", "get", service.show_pool),
        service.route(pool, "PUT", "update", service.update_pool),
        service.route(f"{pool}/desktops", "GET", "listDesktops", service.list_desktops),
        service.route(f"{pool}/inconsistent-statics", "GET", "statics", service.statics),
        *(service.route(f"{pool}/volumes/{verb}", "POST", verb, _verb(service, verb)) for verb in KINDS),
        service.route(f"{root}/workspace-jobs/{{job_id}}", "GET", "showJob", service.show_job),
        service.route(f"{root}/workspace-sub-jobs", "GET", "listSubJobs", service.list_sub_jobs),
    ]
    app = Starlette(
        routes=routes, exception_handlers={404: _not_published, 405: _not_allowed, SandboxError: _broken}
    )
    app.state.service = service
    return app


def _verb(service: Service, verb: str) -> Handler:
    def handler(world: World, account: Account, request: HttpRequest, body: bytes, now: float) -> Answer:
        request.path_params["verb"] = verb
        return service.change(world, account, request, body, now)

    return handler


async def _not_published(_request: HttpRequest, _error: Exception) -> Response:
    body = errors.gateway(404, "0101", "The API does not exist or has not been published.").body
    return JSONResponse(body, 404, {HEADER: "unknown"})


async def _not_allowed(_request: HttpRequest, _error: Exception) -> Response:
    body = errors.gateway(405, "0106", "The request method is not supported.").body
    return JSONResponse(body, 405, {HEADER: "unknown"})


async def _broken(_request: HttpRequest, error: Exception) -> Response:
    return JSONResponse({"error_code": "SANDBOX", "error_msg": str(error)}, 500, {HEADER: "broken"})


def _signed(request: HttpRequest, body: bytes) -> auth.Request:
    raw_path = request.scope.get("raw_path") or request.url.path.encode()
    headers = {name.lower(): value for name, value in request.headers.items()}
    path = raw_path.decode("ascii", "replace").partition("?")[0]
    return auth.Request(request.method, path, request.url.query, headers, body)


def _pool(world: World, request: HttpRequest) -> Pool:
    pool_id = request.path_params["pool_id"]
    found = world["projects"][request.path_params["project_id"]]["pools"].get(pool_id)
    if found is None:
        raise errors.unknown_pool(pool_id)
    return found


def _span(request: HttpRequest, default: int, most: int, furthest: int) -> tuple[int, int]:
    try:
        limit = int(request.query_params.get("limit", default))
        offset = int(request.query_params.get("offset", 0))
    except ValueError:
        raise errors.invalid("offset and limit must be integers.") from None
    if not (0 <= limit <= most and 0 <= offset <= furthest):
        raise errors.invalid(f"limit must be 0 to {most} and offset 0 to {furthest}.")
    return offset, limit


def _json(body: bytes) -> object:
    try:
        parsed: object = json.loads(body)
    except (ValueError, RecursionError):
        raise errors.invalid("The request body is not JSON.") from None
    return parsed


def _parsed(body: bytes) -> object:
    try:
        parsed: object = json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")
    return parsed


def _login(told: object) -> tuple[tuple[str, str, str], str]:
    try:
        found: Any = told
        user = found["auth"]["identity"]["password"]["user"]
        scope = found["auth"]["scope"]["project"]
        return (user["name"], user["password"], user["domain"]["name"]), scope.get("id", "")
    except (KeyError, TypeError, AttributeError):
        raise errors.identity(400, "The request body is invalid.") from None


def _is(account: Account, login: tuple[str, str, str]) -> bool:
    return (account["user"], account["password"], account["domain"]) == login
