"""What ``doctor`` tries at the service of one target: address, identity, clock, project, permissions, pools.

Every call is one of those that ``plan`` and ``apply`` read with. Texts of the service are not repeated, as they can
name people: its status, code and request id stand for them.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from urllib.parse import urlsplit

from reconciler.api import documented
from reconciler.api.client import WorkspaceClient
from reconciler.api.failure import ACTIONS
from reconciler.api.transport import CONNECT_SECONDS, Answer, route
from reconciler.cli.connect import connections, home
from reconciler.cli.flags import ConnectionOptions
from reconciler.cli.interlock import Interlock
from reconciler.clock import CLOCK
from reconciler.errors import BadInput, ExitCode, PermissionDenied, ReconcilerError, ServiceError
from reconciler.identity import find_identity, whom
from reconciler.journal.states import Step
from reconciler.model import DesiredPool, Manifest, Policy, Pool, Target
from reconciler.planner import CLOCKS_APART, FORBIDDEN, Connection, locate
from reconciler.planning.backups import AVAILABLE, rule_of
from reconciler.planning.finding import Finding
from reconciler.render.doctor import Check, Result
from reconciler.render.line import count
from reconciler.settings import Settings, default_endpoint
from reconciler.values import Struct, field, replace
from reconciler.workspace import LiveWorkspace

NOTICEABLE = timedelta(seconds=60)
"""A difference of clocks that is worth a word: requests are still accepted for 15 minutes."""
ENDS_SOON = timedelta(days=14)
SHOWN = 10
"""Pools, fields or words named in one line."""
Work = Callable[[], Awaitable[Check]]


class _Heard(Struct):
    """What the answers of the service showed beyond what was asked for."""

    dates: list[tuple[datetime, datetime | None]] = field(default_factory=list)
    """This machine's time with the service's; None where an answer had none."""
    unknown: Counter[str] = field(default_factory=Counter)

    def listen(self, call: str, answer: Answer) -> None:
        """Take one answer."""
        date = None
        with suppress(ValueError):
            found = parsedate_to_datetime(answer.headers.get("date", ""))
            date = found if found.tzinfo else found.replace(tzinfo=UTC)
        self.dates.append((CLOCK.get().now(), date))
        if answer.status == 200:
            self.unknown.update(documented.unknown(call, answer.body))

    def clock(self) -> Check:
        """The service's clock against this machine's."""
        known = [(here - there).total_seconds() for here, there in self.dates if there]
        if not self.dates:
            return Check.not_tried("clock", "the service has not answered")
        if not known:
            return Check.warning(
                "clock",
                "the answers have no Date, so the service's clock is not known",
                "keep this machine's clock synchronised: a signature is valid for 15 minutes around the service's",
            )
        apart = max(known, key=abs)
        side = "ahead of" if apart > 0 else "behind"
        said = f"this machine's is {abs(apart):.0f} s {side} the service's"
        if abs(apart) < NOTICEABLE.total_seconds():
            return Check.ok("clock", said)
        if abs(apart) < CLOCKS_APART.total_seconds():
            return Check.warning("clock", said, "synchronise this machine's clock")
        advice = "synchronise this machine's clock: signatures so far apart are refused"
        return Check.failure("clock", said, advice, ExitCode.ERROR)

    def words(self) -> Check:
        """Fields and words that this version does not know."""
        if not self.dates:
            return Check.not_tried("fields and words", "the service has not answered")
        if not self.unknown:
            return Check.ok("fields and words", "all are known to this version")
        return Check.warning(
            "fields and words",
            f"not known to this version: {_some(sorted(self.unknown))}",
            "unknown fields are ignored, and what an unknown word stands for is not changed; please report them",
        )


async def check_target(
    target: Target,
    manifest: Manifest | None,
    options: ConnectionOptions,
    settings: Settings | None,
    policy: Policy | None = None,
) -> list[Check]:
    """Every check of one target; those that need an earlier one that failed are not tried."""
    if settings is None:
        return [replace(Check.not_tried("service", "the settings cannot be read"), target=str(target))]
    found: list[Check] = []
    if not options.sandbox:
        found += [await _address(target, settings), _identity(target)]
    if not any(each.result is Result.FAILURE for each in found):
        found += await _asked(target, manifest or Manifest(()), options, policy)
    else:
        found.append(Check.not_tried("service", "what it needs has failed; see above"))
    return [replace(each, target=str(target)) for each in found]


async def _address(target: Target, settings: Settings) -> Check:
    """Whether the address resolves, takes connections, and has a certificate that is trusted."""
    here = settings.in_region(target.region)
    try:
        address = here.endpoint or default_endpoint("workspace", target.region)
        proxy, trust = route(address)
    except BadInput as error:
        return failed("address", error)
    parts = urlsplit(address)
    derived = "as set" if here.endpoint else "derived from the region"
    if proxy:
        said = f"{address} ({derived}), through the proxy {proxy.shown}, which resolves and connects"
        return Check.ok("address", said)
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=trust if secure else None)
    except (OSError, TimeoutError) as error:
        reason, advice = _no_connection(error)
        return Check.failure("address", f"{address} ({derived}): {reason}", advice, ExitCode.ERROR)
    certificate = writer.get_extra_info("peercert") or {}
    writer.close()
    said = f"{address} ({derived}) resolves and connects"
    if not secure:
        return Check.ok("address", f"{said}; plain http, to this machine")
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
    said += f"; its certificate is trusted and valid until {until:%Y-%m-%d}"
    if until - CLOCK.get().now() < ENDS_SOON:
        return Check.warning("address", said, "tell who runs this address: it ends soon")
    return Check.ok("address", said)


def _no_connection(error: OSError | TimeoutError) -> tuple[str, str]:
    match error:
        case socket.gaierror():
            return (
                "the name does not resolve",
                "is the region right, and is DNS reachable? else set RECONCILER_ENDPOINT",
            )
        case ssl.SSLCertVerificationError():
            return (
                f"the certificate is not trusted: {error.verify_message}",
                "add its authority to the system's certificates, or name a file with it in SSL_CERT_FILE",
            )
        case TimeoutError():
            reason = f"no connection within {CONNECT_SECONDS:.0f} s"
        case _:
            reason = f"no connection: {error.strerror or type(error).__name__}"
    return reason, "is a firewall in the way, or a proxy needed (HTTPS_PROXY)?"


def _identity(target: Target) -> Check:
    """As whom: the kind and where it was found; an access key by its ends, a person not by name."""
    try:
        found = whom(find_identity(os.environ, home(), target.profile))
    except ReconcilerError as error:
        return failed("identity", error)
    return Check.ok("identity", f"{replace(found, user='')}")


async def _asked(
    target: Target, manifest: Manifest, options: ConnectionOptions, policy: Policy | None
) -> list[Check]:
    warnings: list[str] = []
    interlock = Interlock.of(manifest, options.project_id, warnings.append, writes=False)
    heard = _Heard()
    try:
        async with connections([target], options, interlock) as opened:
            connection = opened[target]
            if not isinstance(connection, Connection) or not isinstance(connection.workspace, LiveWorkspace):
                return []
            client = connection.workspace.client
            client.listen, client.about = heard.listen, ""
            advice = "a run that writes would be refused; see --project-id in the README"
            project = (
                Check.warning("project", "; ".join(warnings).removeprefix("Warning: "), advice)
                if warnings
                else Check.ok("project", "it is one of the credentials'")
            )
            declared = [each for each in manifest.pools if each.target == target]
            reads = await _Reads(client, connection.workspace).all(declared)
            if any(rule_of(each, policy) for each in declared):
                reads.append(await _tried("list backups", partial(_backups, connection.workspace)))
    except ReconcilerError as error:
        return [failed("project", error), heard.clock()]
    return [project, heard.clock(), *reads, heard.words()]


class _Reads:
    """Tries each read permission on the pools that there are."""

    def __init__(self, client: WorkspaceClient, workspace: LiveWorkspace) -> None:
        self._client = client
        self._workspace = workspace
        self._pools: tuple[Pool, ...] = ()
        self._found: list[Pool] = []

    async def all(self, declared: Sequence[DesiredPool]) -> list[Check]:
        """One check for each call, and those of the declared pools."""
        listed = await _tried("list pools", self._list)
        if listed.result is Result.FAILURE:
            return [listed, Check.not_tried("other calls", "they need a pool, and none could be listed")]
        found = self._declared(declared)
        checks = [listed, *([found] if found else [])]
        pools = self._found or list(self._pools[:1])
        if not pools:
            none = Check.not_tried("other calls", "they need a pool, and there is none")
            return [*checks, none, *await self._jobs()]
        first = pools[0]
        checks.append(await _tried("show pool", lambda: self._show(first)))
        checks.append(await _tried("list desktops", lambda: self._desktops(pools)))
        differing = await _tried("count differing desktops", lambda: self._differing(first))
        # Only plan --desktops needs it.
        checks.append(_only_warned(differing, "plan --desktops does not work without it"))
        return [*checks, *await self._jobs()]

    async def _list(self) -> Check:
        self._pools = await self._workspace.pools()
        return Check.ok("list pools", f"{count(len(self._pools), 'pool')}, as many as the service counts")

    def _declared(self, declared: Sequence[DesiredPool]) -> Check | None:
        by_id = {pool.id: pool for pool in self._pools}
        by_name: dict[str, list[Pool]] = {}
        for pool in self._pools:
            by_name.setdefault(pool.name, []).append(pool)
        missing = []
        for each in declared:
            live = locate(each, by_id, by_name)
            if isinstance(live, Finding):
                missing.append(f"{live.message} ({live.source})")
            else:
                self._found.append(live)
        if not declared:
            return None
        if missing:
            said = f"{len(missing)} of {len(declared)} not found: {_some(missing)}"
            advice = "correct the name or the id, or drop the entry to stop managing that pool"
            return Check.failure("declared pools", said, advice, ExitCode.REFUSED)
        return Check.ok("declared pools", f"all {len(declared)} found" if len(declared) > 1 else "1 found")

    async def _show(self, pool: Pool) -> Check:
        await self._client.pool(pool.id)
        return Check.ok("show pool", "allowed")

    async def _desktops(self, pools: Sequence[Pool]) -> Check:
        total, other = 0, []
        for pool in pools:
            number = len(await self._client.desktops(pool.id))
            total += number
            if pool.desktop_count != number:
                counted = (
                    "does not count its desktops"
                    if pool.desktop_count is None
                    else f"counts {pool.desktop_count}"
                )
                other.append(f"{pool.name} {counted} and lists {number}")
        said = f"{count(total, 'desktop')} of {count(len(pools), 'pool')}"
        if not other:
            return Check.ok("list desktops", f"{said}, as many as the pools count")
        advice = (
            "run again, as desktops come and go; where it stays so, such a pool loses no disk without "
            "allow_count_mismatch: true"
        )
        return Check.warning("list desktops", f"{said}; {_some(other)}", advice)

    async def _differing(self, pool: Pool) -> Check:
        await self._client.inconsistent_statics(pool.id)
        return Check.ok("count differing desktops", "allowed")

    async def _jobs(self) -> list[Check]:
        jobs: set[str] = set()

        async def sub_jobs() -> Check:
            jobs.update(await self._workspace.running_jobs(Step.REMOVE))
            return Check.ok("list sub-jobs", f"{count(len(jobs), 'running removal')}")

        async def job() -> Check:
            await self._client.job(min(jobs))
            return Check.ok("show job", "allowed")

        without = "a plan cannot say whether somebody else is removing disks"
        listed = _only_warned(await _tried("list sub-jobs", sub_jobs), without)
        if jobs:
            return [listed, await _tried("show job", job)]
        none = f"it needs the id of a job, and none is running; apply needs {ACTIONS['show job']}"
        return [listed, Check.not_tried("show job", none)]


async def _backups(workspace: LiveWorkspace) -> Check:
    """Whether the backup service can be read; asked only where a pool or the policy demands a backup."""
    listed = (await workspace.backups()).backups
    usable = sum(each.status == AVAILABLE for each in listed)
    said = f"{count(len(listed), 'backup')} of desktops, {usable} of them {AVAILABLE}"
    return Check.ok("list backups", said)


async def _tried(call: str, work: Work) -> Check:
    try:
        return await work()
    except ServiceError as error:
        return failed(call, error)


def failed(name: str, error: ReconcilerError) -> Check:
    """A check that ended with an error, without the service's own words."""
    message, advice = error.message, error.hint
    if isinstance(error, BadInput) and error.faults:
        message = f"{message}: {'; '.join(map(str, error.faults))}"
    if isinstance(error, ServiceError) and error.status:
        request = f", request {error.request_id}" if error.request_id else ""
        message = f"HTTP {error.status}{f' {error.code}' if error.code else ''}{request}"
        if (isinstance(error, PermissionDenied) or error.status == FORBIDDEN) and name in ACTIONS:
            advice = f"let this identity do {ACTIONS[name]}"
    return Check.failure(name, message, advice, error.exit_code)


def _only_warned(check: Check, without: str) -> Check:
    """The same, where plans can do without the call."""
    if check.result is not Result.FAILURE:
        return check
    return replace(
        check, result=Result.WARNING, advice=f"{check.advice}; {without}".removeprefix("; "), exit_code=0
    )


def _some(texts: Sequence[str]) -> str:
    more = [f"and {len(texts) - SHOWN} more"] if len(texts) > SHOWN else []
    return "; ".join([*texts[:SHOWN], *more])
