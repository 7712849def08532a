"""Owns the calls to one project: reads that are retried, writes that never are."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential_jitter

from reconciler.api import wire
from reconciler.api.budget import Budgets
from reconciler.api.failure import failure
from reconciler.api.outcome import Outcome, of_answer, of_error, retry_after
from reconciler.api.paging import complete
from reconciler.api.signing import SIGNED_AT
from reconciler.api.token import ONCE
from reconciler.api.transport import READ_SECONDS, WRITE_SECONDS, Answer, BadAnswer, fetch, httpx
from reconciler.clock import Clock
from reconciler.errors import ServiceError

T = TypeVar("T")
Verb = Literal["batch-delete", "batch-expand", "batch-add"]

RETRY_SECONDS = 20.0
"""Seconds within which a read is tried again after 5xx, cut, garbage or silence."""
THROTTLED_SECONDS = 60.0
MOST_THROTTLED_SECONDS = 300.0
"""Seconds a read waits after 429 without ``Retry-After``, and in all."""
POOLS_LIMIT, POOLS_OFFSET = 1000, 20_000
DESKTOPS_LIMIT, DESKTOPS_OFFSET = 100, 10_000
JOBS_LIMIT, JOBS_OFFSET = 1000, 10_000
"""Items a page, and the highest offset (documented)."""
SANDBOX_HEADER = "x-reconciler-sandbox"


class _Again(Exception):
    """This attempt failed in a way that another one may not."""

    def __init__(self, error: ServiceError) -> None:
        super().__init__(str(error))
        self.error = error


class WorkspaceClient:
    """One project of the service, over one pair of HTTP clients."""

    def __init__(
        self, reads: httpx.AsyncClient, writes: httpx.AsyncClient, base: str, project_id: str, clock: Clock
    ) -> None:
        self._reads = reads
        self._writes = writes
        self._root = f"{base}/v2/{quote(project_id, safe='')}"
        self._base = base
        self._clock = clock
        self._budgets = Budgets(clock)
        self.requests: Counter[str] = Counter()
        """Requests on the wire by call, retries included."""
        self.sandbox = ""
        """The name of the simulated world that answered; empty for the real service."""

    async def announce(self) -> str:
        """Ask who answers at this address; returns the name of the sandbox, or nothing."""
        await self._read("hello", f"{self._base}/", {}, lambda answer: answer.status < 500 or None)
        return self.sandbox

    async def pools(self) -> list[wire.PoolBody]:
        """Every pool with its disks, complete: one request per 1,000."""

        async def page(offset: int) -> tuple[int, Sequence[wire.PoolBody]]:
            query = {"limit": POOLS_LIMIT, "offset": offset}
            url = f"{self._root}/desktop-pools"
            found = await self._read("list pools", url, query, lambda a: wire.decode_pools(_ok(a)))
            return found.total_count, found.desktop_pools

        return await complete("pools", page, lambda pool: pool.id, POOLS_LIMIT, POOLS_OFFSET)

    async def pool(self, pool_id: str) -> tuple[wire.PoolBody, bytes]:
        """One pool, and the raw bytes of its answer; raises ``PoolNotFound``."""
        return await self._read(
            "show pool", self._pool(pool_id), {}, lambda a: (wire.decode_pool(_ok(a)), a.body)
        )

    async def desktops(self, pool_id: str, inconsistent: str = "") -> list[wire.DesktopBody]:
        """Every desktop of a pool, complete; ``inconsistent``: only those that differ so (DISK_NUM …)."""

        async def page(offset: int) -> tuple[int, Sequence[wire.DesktopBody]]:
            query: dict[str, Any] = {"limit": DESKTOPS_LIMIT, "offset": offset}
            if inconsistent:
                query["inconsistent_type"] = inconsistent
            url = f"{self._pool(pool_id)}/desktops"
            found = await self._read("list desktops", url, query, _decoded(wire.DesktopsPage))
            return found.total_count, found.pool_desktops

        identity = "desktops"
        return await complete(identity, page, lambda each: each.desktop_id, DESKTOPS_LIMIT, DESKTOPS_OFFSET)

    async def inconsistent(self, pool_id: str) -> wire.InconsistentBody:
        """How many desktops differ from their pool, and in what."""
        url = f"{self._pool(pool_id)}/inconsistent-statics"
        return await self._read("list desktops", url, {}, _decoded(wire.InconsistentBody))

    async def job(self, job_id: str) -> wire.JobBody | None:
        """One job with its sub-jobs; None when the service does not know it."""
        url = f"{self._root}/workspace-jobs/{quote(job_id, safe='')}"
        try:
            return await self._read("show job", url, {}, _decoded(wire.JobBody))
        except ServiceError as error:
            if error.status == 404 and not error.code.startswith("APIGW."):
                return None
            raise

    async def sub_jobs(
        self, *, job_type: str | None = None, pool_id: str | None = None, statuses: Sequence[str] = ()
    ) -> list[wire.SubJobBody]:
        """Every sub-job that fits, complete."""

        async def page(offset: int) -> tuple[int, Sequence[wire.SubJobBody]]:
            query: dict[str, Any] = {"limit": JOBS_LIMIT, "offset": offset}
            given = {"job_type": job_type, "desktop_pool_id": pool_id, "status": list(statuses) or None}
            query.update({name: value for name, value in given.items() if value is not None})
            url = f"{self._root}/workspace-sub-jobs"
            found = await self._read("list sub-jobs", url, query, _decoded(wire.SubJobsPage))
            return found.total_count, found.jobs

        return await complete("sub-jobs", page, lambda each: each.id, JOBS_LIMIT, JOBS_OFFSET)

    async def post_volumes(
        self, verb: Verb, pool_id: str, body: Mapping[str, Any], signed_at: datetime
    ) -> Outcome:
        """Send one write, exactly once on the wire, and never raise for what network or service do."""
        await self._budgets.write(verb)
        began = False

        async def trace(event: str, _info: Mapping[str, Any]) -> None:
            nonlocal began
            began = began or event.endswith("send_request_headers.started")

        request = self._writes.build_request(
            "POST",
            f"{self._pool(pool_id)}/volumes/{verb}",
            content=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            extensions={SIGNED_AT: signed_at, ONCE: True, "trace": trace},
        )
        self.requests[verb] += 1
        try:
            answer = await fetch(self._writes, request, WRITE_SECONDS)
        except (httpx.HTTPError, httpx.InvalidURL, BadAnswer, TimeoutError, ServiceError) as error:
            return of_error(error, sending_began=began)
        outcome = of_answer(answer, self._clock.now())
        if outcome.status == 429:
            self._budgets.pause(verb, outcome.retry_after or THROTTLED_SECONDS)
        return outcome

    def _pool(self, pool_id: str) -> str:
        return f"{self._root}/desktop-pools/{quote(pool_id, safe='')}"

    async def _read(self, call: str, url: str, query: Mapping[str, Any], take: Callable[[Answer], T]) -> T:
        """Read once, and again within ``RETRY_SECONDS`` where another attempt may help."""
        begun = self._clock.monotonic()
        throttled = 0.0

        def enough(_state: RetryCallState) -> bool:
            return self._clock.monotonic() - begun - throttled >= RETRY_SECONDS

        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(_Again),
                wait=wait_exponential_jitter(initial=0.3, max=5, jitter=0.5),
                stop=enough,
                sleep=self._clock.sleep,
                reraise=True,
            ):
                with attempt:
                    while True:
                        answer = await self._attempt(call, url, query)
                        if answer.status != 429:
                            return _taken(call, answer, take)
                        wait = retry_after(answer.headers, self._clock.now())
                        wait = wait if wait is not None else THROTTLED_SECONDS + random.uniform(0, 5)
                        throttled += wait
                        if throttled > MOST_THROTTLED_SECONDS:
                            raise failure(call, answer.status, answer.headers, answer.body)
                        self._budgets.pause(call, wait)
        except _Again as given_up:
            raise given_up.error from None
        raise AssertionError("unreachable: the loop returns or raises")

    async def _attempt(self, call: str, url: str, query: Mapping[str, Any]) -> Answer:
        await self._budgets.read(call)
        self.requests[call] += 1
        # The service's older pages call Content-Type mandatory even on a GET (documented).
        request = self._reads.build_request(
            "GET", url, params=dict(query), headers={"Content-Type": "application/json"}
        )
        try:
            answer = await fetch(self._reads, request, READ_SECONDS)
        except TimeoutError:
            silence = f"{call}: no complete answer within {READ_SECONDS:.0f} s"
            raise _Again(ServiceError(silence, "is the endpoint right and reachable?")) from None
        except (httpx.HTTPError, httpx.InvalidURL, BadAnswer) as error:
            words = f"{call}: {_reason(error)}"
            raise _Again(ServiceError(words, "is the endpoint right and reachable?")) from None
        self.sandbox = answer.headers.get(SANDBOX_HEADER, self.sandbox)
        return answer


def _taken(call: str, answer: Answer, take: Callable[[Answer], T]) -> T:
    """The wanted part of a good answer; a bad one as an error, worth another attempt or not."""
    try:
        return take(answer)
    except wire.Garbage:
        error = failure(call, answer.status, answer.headers, answer.body)
        if answer.status >= 500 or answer.status < 300 or answer.status == 408:
            raise _Again(error) from None
        raise error from None


def _decoded(kind: type[T]) -> Callable[[Answer], T]:
    return lambda answer: wire.decode(_ok(answer), kind)


def _ok(answer: Answer) -> bytes:
    """The body of a success; anything else is garbage to a reader of structs."""
    if answer.status != 200 or (b'"error_code"' in answer.body[:4096] and failure_in(answer)):
        raise wire.Garbage(f"HTTP {answer.status}")
    return answer.body


def failure_in(answer: Answer) -> bool:
    """True when a 200 carries an error, as the service's older calls do (documented)."""
    told = json.loads(answer.body) if answer.body.lstrip().startswith(b"{") else {}
    return isinstance(told, dict) and bool(told.get("error_code"))


def _reason(error: Exception) -> str:
    words = str(error) or type(error).__name__
    return f"the service cannot be reached: {words}" if isinstance(error, httpx.ConnectError) else words
