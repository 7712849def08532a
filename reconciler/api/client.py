"""The calls to one project: reads that are retried, writes that never are.

When a read is retried is left to ``retry``, the words of an error to ``failure``.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from reconciler.api import wire
from reconciler.api.budget import Budgets
from reconciler.api.failure import NOT_HERE, failure
from reconciler.api.outcome import http_date, of_answer, of_error, retry_after
from reconciler.api.paging import complete
from reconciler.api.retry import DEFAULT_TIMING, Retries, RetryableError, Throttled, Timing
from reconciler.api.signing import SIGNED_AT
from reconciler.api.token import ONCE
from reconciler.api.transport import ATTEMPT, CALL_NAME, Answer, ProtocolError, fetch, httpx, through
from reconciler.clock import Clock
from reconciler.errors import CredentialsError, PermissionDenied, ReadingDoubtful, ServiceError
from reconciler.journal.states import Outcome
from reconciler.safe_text import safe_text

T = TypeVar("T")
Renew = Callable[[], Awaitable[datetime | None]]
"""Renews credentials that are about to end, and returns when those end that sign the next write; None: not known."""
Verb = Literal["batch-delete", "batch-expand", "batch-add", "retry", "notifications"]

MOST_LISTED = 64 * 1024 * 1024
"""Bytes of one whole list, over its pages; 10,000 pools have about 25 MB."""
POOLS_LIMIT, POOLS_OFFSET = 1000, 20_000
DESKTOPS_LIMIT, DESKTOPS_OFFSET = 100, 10_000
JOBS_LIMIT, JOBS_OFFSET = 1000, 10_000
"""Items a page, and the highest offset (documented)."""
BACKUPS_LIMIT, BACKUPS_OFFSET = 1000, 100_000
"""Backups a page (documented: 1 to 1,000); no document has a highest offset, so this one is ours."""
DESKTOP = "OS::Workspace::DesktopV2"
"""The backup service's word for a desktop (documented)."""
UNTRUSTED = (
    "the server's certificate is not trusted here: add its authority to the system's certificates, "
    "or name a file with it in SSL_CERT_FILE"
)
POOLS, SUB_JOBS = "list pools", "list sub-jobs"
"""The calls that polls share, each with a budget of its own."""
SANDBOX_HEADER = "x-reconciler-sandbox"


BackupService = Callable[[], AbstractAsyncContextManager["WorkspaceClient"]]
"""Opens a client for the backup service of a project, for one reading."""


async def nothing_to_renew() -> datetime | None:
    """For credentials that are what they are."""
    return None


class _Size:
    """The bytes of one list over its pages: a list is kept in memory as a whole."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._read = 0

    def of(self, offset: int, decode: Callable[[bytes], T]) -> Callable[[Answer], T]:
        """Decode the page at ``offset`` and count it; the first page starts the list again."""
        if offset == 0:
            self._read = 0

        def take(answer: Answer) -> T:
            found = decode(_ok(answer))
            self._read += len(answer.body)
            if self._read > MOST_LISTED:
                raise ReadingDoubtful(
                    f"the list of {self._what} has more than {MOST_LISTED} bytes", "ask the vendor's support"
                )
            return found

        return take


class WorkspaceClient:
    """One project of the service, over one pair of HTTP clients."""

    def __init__(
        self,
        reads: httpx.AsyncClient,
        writes: httpx.AsyncClient,
        base: str,
        project_id: str,
        clock: Clock,
        *,
        concurrency: int = 8,
        timing: Timing = DEFAULT_TIMING,
    ) -> None:
        self._reads = reads
        self._writes = writes
        self._root = f"{base}/v2/{_segment(project_id)}"
        self._backups = f"{base}/v3/{_segment(project_id)}/backups"
        self._base = base
        self.project_id = project_id
        self._clock = clock
        self._timing = timing
        self.budgets = Budgets(clock)
        """What all calls wait for; its ``waits`` may be set to hear of that."""
        self._slots = asyncio.Semaphore(concurrency)
        self._answered = False
        self.renew: Renew = nothing_to_renew
        """To be awaited before a write is decided; raises ``CredentialsError`` when renewing fails."""
        self.about = ""
        """What errors about credentials, project and address say beside the service's own words."""
        self.requests: Counter[str] = Counter()
        """Requests by call, repeated reads included; logins are not counted."""
        self.listen: Callable[[str, Answer], None] = lambda _call, _answer: None
        """Is given every answer to a read, with the call's name, before anything is made of it."""
        self.sandbox = ""
        """The name of the simulated world that answered; empty for the real service."""
        self.service_time: datetime | None = None
        """The time of the latest answer by its ``Date``; None while none had one."""
        self.backup_service: BackupService | None = None
        """Opens a client for the backup service, which has another address; None: there is none."""

    async def announce(self) -> str:
        """Ask who answers at this address; returns the name of the sandbox, or nothing."""
        await self._read("ask who answers", f"{self._base}/", {}, lambda answer: answer.status < 500 or None)
        return self.sandbox

    async def pools(self) -> list[wire.PoolBody]:
        """Every pool with its disks, complete: one request per 1,000."""
        size = _Size("pools")

        async def page(offset: int) -> tuple[int, Sequence[wire.PoolBody]]:
            query = {"limit": POOLS_LIMIT, "offset": offset}
            url = f"{self._root}/desktop-pools"
            found = await self._read(POOLS, url, query, size.of(offset, wire.decode_pools))
            return found.total_count, found.desktop_pools

        # A declared pool that stays unseen is refused as not found: one request reads a thousand pools.
        return await complete("pools", page, lambda pool: pool.id, POOLS_LIMIT, POOLS_OFFSET, beyond=False)

    async def pool(self, pool_id: str) -> tuple[wire.PoolBody, bytes]:
        """One pool, and the raw bytes of its answer; raises ``PoolNotFound``."""
        body, raw = await self._read(
            "show pool", self._pool(pool_id), {}, lambda a: (wire.decode_pool(_ok(a)), a.body)
        )
        if body.id != pool_id:
            raise ReadingDoubtful(
                f"asked for the pool {safe_text(pool_id)}, the service answered with {safe_text(body.id)}",
                "run again; if it stays so, ask the vendor's support",
            )
        return body, raw

    async def desktops(self, pool_id: str, inconsistent_type: str | None = None) -> list[wire.DesktopBody]:
        """Every desktop of a pool, complete; with a type (DISK_NUM …) those that differ so from the pool."""
        size = _Size("desktops")

        async def page(offset: int) -> tuple[int, Sequence[wire.DesktopBody]]:
            query: dict[str, Any] = {"limit": DESKTOPS_LIMIT, "offset": offset}
            if inconsistent_type:
                query["inconsistent_type"] = inconsistent_type
            url = f"{self._pool(pool_id)}/desktops"
            take = size.of(offset, lambda body: wire.decode(body, wire.DesktopsPage))
            found = await self._read("list desktops", url, query, take)
            return found.total_count, found.pool_desktops

        return await complete("desktops", page, lambda each: each.desktop_id, DESKTOPS_LIMIT, DESKTOPS_OFFSET)

    async def inconsistent_statics(self, pool_id: str) -> wire.InconsistentBody:
        """How many desktops differ from their pool, and in what."""
        url = f"{self._pool(pool_id)}/inconsistent-statics"
        return await self._read("count differing desktops", url, {}, _decoded(wire.InconsistentBody))

    async def job(self, job_id: str) -> wire.JobBody | None:
        """One job with its sub-jobs; None when the service does not know it."""
        url = f"{self._root}/workspace-jobs/{_segment(job_id)}"
        try:
            return await self._read("show job", url, {}, _decoded(wire.JobBody))
        except ServiceError as error:
            # A 404 without a code, or of the gateway, says nothing about the job.
            if error.status == 404 and error.code and not error.code.startswith("APIGW."):
                return None
            raise

    async def sub_jobs(
        self, *, job_type: str | None = None, pool_id: str | None = None, statuses: Sequence[str] = ()
    ) -> list[wire.SubJobBody]:
        """Every sub-job that fits, complete."""
        size = _Size("sub-jobs")

        async def page(offset: int) -> tuple[int, Sequence[wire.SubJobBody]]:
            query: dict[str, Any] = {"limit": JOBS_LIMIT, "offset": offset}
            given = {"job_type": job_type, "desktop_pool_id": pool_id, "status": tuple(statuses) or None}
            query.update({name: value for name, value in given.items() if value is not None})
            url = f"{self._root}/workspace-sub-jobs"
            take = size.of(offset, lambda body: wire.decode(body, wire.SubJobsPage))
            found = await self._read(SUB_JOBS, url, query, take)
            return found.total_count, found.jobs

        return await complete("sub-jobs", page, lambda each: each.id, JOBS_LIMIT, JOBS_OFFSET)

    async def backups(self) -> tuple[list[wire.BackupBody], tuple[bytes, ...]]:
        """Every backup of a desktop, complete, with the raw pages; to be asked of the backup service's client.

        One request per 1,000: a desktop alone could be asked for, but a pool can have thousands. They come sorted
        by id, so that a backup that is made meanwhile moves no other to another page unseen.
        """
        size = _Size("backups")
        pages: dict[int, bytes] = {}

        def decode(body: bytes) -> wire.BackupsPage:
            return wire.decode(body, wire.BackupsPage)

        async def page(offset: int) -> tuple[int, Sequence[wire.BackupBody]]:
            query = {
                "resource_type": DESKTOP,
                "limit": BACKUPS_LIMIT,
                "offset": offset,
                "sort": "id:asc",
            }
            if offset == 0:
                pages.clear()
            take = size.of(offset, decode)

            def kept(answer: Answer) -> wire.BackupsPage:
                found = take(answer)
                pages[offset] = answer.body
                return found

            found = await self._read("list backups", self._backups, query, kept)
            return found.count, found.backups

        bodies = await complete("backups", page, lambda each: each.id, BACKUPS_LIMIT, BACKUPS_OFFSET)
        return bodies, tuple(pages.values())

    async def write_place(self, verb: Verb) -> None:
        """Wait for a place in the budget of this write; after a 429 that may take minutes."""
        await self.budgets.write(verb)

    async def post_volumes(
        self, verb: Verb, pool_id: str, body: Mapping[str, Any], signed_at: datetime
    ) -> Outcome:
        """Send one write about a pool's disks, as ``_post`` does."""
        return await self._post(verb, lambda: f"{self._pool(pool_id)}/volumes/{verb}", body, signed_at)

    async def post_retry(self, job_id: str, signed_at: datetime) -> Outcome:
        """Have the service finish a job that failed in part, as ``_post`` does; what it repeats is not documented."""
        return await self._post(
            "retry",
            lambda: f"{self._root}/workspace-jobs/{_segment(job_id)}/actions",
            {"op_type": "retry"},
            signed_at,
        )

    async def post_message(self, pool_id: str, text: str, signed_at: datetime) -> Outcome:
        """Send a message to the people of a pool, as ``_post`` does (SendDesktopPoolNotifications of the SDK, v2).

        The body is ``notifications``, a text without a documented bound; the answer is the id of a job.
        """
        return await self._post(
            "notifications",
            lambda: f"{self._pool(pool_id)}/notifications",
            {"notifications": text},
            signed_at,
        )

    async def _post(
        self, verb: Verb, url: Callable[[], str], body: Mapping[str, Any], signed_at: datetime
    ) -> Outcome:
        """Send one write, exactly once on the wire, and never raise, not even for an id that cannot be in a ``url``.

        ``url`` is called in here, as an id that makes none is an outcome too: not sent.

        Sends at once: the caller has waited in ``write_place`` before anything was decided.
        """
        began = False

        async def trace(event: str, info: Mapping[str, Any]) -> None:
            nonlocal began
            # A proxy is first sent a CONNECT of its own, which is not yet the write.
            if event.endswith("send_request_headers.started") and info["request"].method == b"POST":
                began = True

        try:
            request = self._writes.build_request(
                "POST",
                url(),
                content=json.dumps(body).encode(),
                headers={"Content-Type": "application/json"},
                extensions={SIGNED_AT: signed_at, ONCE: True, "trace": trace, CALL_NAME: verb},
            )
            self.requests[verb] += 1
            answer = await fetch(self._writes, request, self._timing.write)
            self._heard(answer)
            outcome = of_answer(answer, self._clock.now())
        except Exception as error:
            return of_error(error, sending_began=began, through=through(self._writes))
        if outcome.status == 429:
            self.budgets.pause(verb, self._timing.throttled_wait(outcome.retry_after))
        return outcome

    def _pool(self, pool_id: str) -> str:
        return f"{self._root}/desktop-pools/{_segment(pool_id)}"

    async def _read(self, call: str, url: str, query: Mapping[str, Any], take: Callable[[Answer], T]) -> T:
        retries = Retries(self._clock, self._timing)

        async def attempt() -> T:
            await self.budgets.read(call)
            async with self._slots:
                with retries.timed():
                    answer = await self._get(call, url, query, retries)
            if answer.status == 429:
                wait = self._timing.throttled_wait(retry_after(answer.headers, self._clock.now()))
                self.budgets.pause(call, wait)
                raise Throttled(failure(call, answer.status, answer.headers, answer.body), wait)
            return _taken(call, answer, take)

        try:
            return await retries.call(attempt)
        except ServiceError as error:
            if self.about and _concerns_access(error):
                error.hint = f"{error.hint}; {self.about}" if error.hint else self.about
            raise

    async def _get(self, call: str, url: str, query: Mapping[str, Any], retries: Retries) -> Answer:
        self.requests[call] += 1
        seconds = retries.left()
        # The service's older pages call Content-Type mandatory even on a GET (documented).
        request = self._reads.build_request(
            "GET",
            _address(url, *query.items()),
            headers={"Content-Type": "application/json"},
            extensions={CALL_NAME: call, ATTEMPT: retries.attempts},
        )
        try:
            answer = await fetch(self._reads, request, seconds)
        except TimeoutError:
            raise RetryableError(
                self._unreachable(call, f"no complete answer {retries.within(seconds)}")
            ) from None
        except (httpx.ConnectError, httpx.ProxyError) as error:
            trouble = self._unreachable(call, f"no connection: {safe_text(str(error))}")
            # An endpoint that has never answered is probably wrong; waiting would not help.
            raise (RetryableError(trouble) if self._answered else trouble) from None
        except (httpx.HTTPError, httpx.InvalidURL, ProtocolError) as error:
            reason = safe_text(str(error)) or type(error).__name__
            raise RetryableError(self._unreachable(call, reason)) from None
        self._heard(answer)
        self.listen(call, answer)
        return answer

    def _heard(self, answer: Answer) -> None:
        self._answered = True
        self.sandbox = safe_text(answer.headers.get(SANDBOX_HEADER, self.sandbox))
        self.service_time = http_date(answer.headers.get("date", "")) or self.service_time

    def _unreachable(self, call: str, reason: str) -> ServiceError:
        hint = UNTRUSTED if "CERTIFICATE_VERIFY_FAILED" in reason else "is the endpoint right and reachable?"
        return ServiceError(f"{call}: {self._base}{through(self._reads)}: {reason}", hint)


def _concerns_access(error: ServiceError) -> bool:
    """Whether an error may come from wrong credentials, a wrong project, or a wrong address."""
    if isinstance(error, CredentialsError | PermissionDenied):
        return True
    unanswered = error.status is None and not isinstance(error, ReadingDoubtful)
    # A 404 without a code comes from some other server.
    return unanswered or error.code == NOT_HERE or (error.status == 404 and not error.code)


def _segment(text: str) -> str:
    """One path segment that cannot become two, or none; raises ``ServiceError`` for what no id can be."""
    if text in {"", ".", ".."}:
        raise ServiceError(f"{text!r} is not an id", "it would change which call is made")
    return quote(text, safe="")


@lru_cache(maxsize=256)
def _address(url: str, *query: tuple[str, Any]) -> httpx.URL:
    """Kept, because a poll asks the same again and again, and reading an address takes a while."""
    return httpx.URL(url, params=dict(query)) if query else httpx.URL(url)


def _taken(call: str, answer: Answer, take: Callable[[Answer], T]) -> T:
    """The wanted part of a good answer; a bad one as an error, worth another attempt or not."""
    try:
        return take(answer)
    except wire.DecodeError as garbage:
        error = failure(call, answer.status, answer.headers, answer.body)
        success = 200 <= answer.status < 300 and not error.code
        if success and answer.body.lstrip().startswith(b"{"):
            error = ReadingDoubtful(
                f"{call}: the answer is not well-formed: {safe_text(str(garbage))}",
                "run again; if it stays so, ask the vendor's support",
                status=answer.status,
                request_id=error.request_id,
            )
        if success or answer.status >= 500 or answer.status == 408:
            raise RetryableError(error) from None
        raise error from None


def _decoded(kind: type[T]) -> Callable[[Answer], T]:
    return lambda answer: wire.decode(_ok(answer), kind)


def _ok(answer: Answer) -> bytes:
    """The body of a success; anything else is garbage to a reader of structs."""
    # A 200 can carry an error, as the service's older calls do (documented).
    if answer.status != 200 or wire.carries_error(answer.body):
        raise wire.DecodeError(f"HTTP {answer.status}")
    return answer.body
