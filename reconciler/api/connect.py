"""Opens the client for one target: authentication from its credentials, addresses from its region.

``identity`` and ``settings`` read the configuration; ``client`` makes the calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from reconciler.api import iam, temporary
from reconciler.api.client import BackupService, Renew, WorkspaceClient, nothing_to_renew
from reconciler.api.signing import SdkHmacAuth
from reconciler.api.temporary import METADATA, TemporaryAuth, TemporaryKeys
from reconciler.api.token import PasswordAuth, TokenAuth
from reconciler.api.transport import httpx, open_http
from reconciler.clock import Clock
from reconciler.credentials import AccessKeys, Agency, Container, Credentials, Metadata, Oidc, Password, Token
from reconciler.model import Target
from reconciler.settings import Settings, backup_endpoint, default_endpoint


@asynccontextmanager
async def open_keys(
    settings: Settings,
    credentials: Credentials,
    region: str,
    clock: Clock,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[TemporaryKeys | None]:
    """The temporary keys of credentials that get some, for all their targets; None for others."""
    source: Callable[[httpx.AsyncClient], temporary.Source]
    match credentials:
        case Oidc():
            base = settings.sts_endpoint or default_endpoint("sts", region)
            source = partial(temporary.oidc, credentials, base)
        case Agency():
            base = iam_endpoint(settings, region)
            source = partial(temporary.agency, credentials, base, now=clock.now)
        case Container(uri):
            base, source = uri, partial(temporary.container, credentials)
        case Metadata():
            base, source = METADATA, temporary.metadata
        case _:
            yield None
            return
    async with open_http(base, transport=transport) as http:
        yield TemporaryKeys(source(http), clock.now)


@asynccontextmanager
async def open_client(
    settings: Settings,
    credentials: Credentials,
    target: Target,
    clock: Clock,
    transport: httpx.AsyncBaseTransport | None = None,
    *,
    keys: TemporaryKeys | None = None,
    about: str = "",
) -> AsyncIterator[WorkspaceClient]:
    """A client for one target; ``transport`` replaces the network, for a service in this process.

    ``keys``: those of ``open_keys`` where several targets share them; without them the client gets its own.
    ``about``: what errors about credentials, project and address say beside the service's own words.
    """
    base = settings.endpoint or default_endpoint("workspace", target.region)
    async with AsyncExitStack() as stack:
        own = keys or await stack.enter_async_context(
            open_keys(settings, credentials, target.region, clock, transport)
        )
        auth: httpx.Auth
        renew: Renew = nothing_to_renew
        if own:
            auth, renew = TemporaryAuth(own, target.project_id, clock.now), own.for_writing
        elif isinstance(credentials, Password):
            at = iam_endpoint(settings, target.region)
            http = await stack.enter_async_context(open_http(at, transport=transport))
            auth = login = PasswordAuth(credentials, at, target.project_id, http, clock.now)
            renew = login.for_writing
        else:
            auth = _given(credentials, target.project_id, clock)
        reads = await stack.enter_async_context(open_http(base, auth, transport))
        # A write gets its own connection: on a reused one that the server has just closed, nobody could say
        # whether the request arrived.
        writes = await stack.enter_async_context(open_http(base, auth, transport, idle_connections=0))
        client = WorkspaceClient(
            reads, writes, base, target.project_id, clock, concurrency=settings.concurrency
        )
        client.renew, client.about = renew, about
        client.backup_service = _backup_service(client, (settings, target, clock), auth, transport)
        yield client


def _backup_service(
    client: WorkspaceClient,
    of: tuple[Settings, Target, Clock],
    auth: httpx.Auth,
    transport: httpx.AsyncBaseTransport | None,
) -> BackupService:
    """Opens the backup service as the same identity; not before somebody asks for it, as few do."""

    settings, target, clock = of

    @asynccontextmanager
    async def opened() -> AsyncIterator[WorkspaceClient]:
        base = backup_endpoint(settings, target.region)
        async with open_http(base, auth, transport) as http:
            service = WorkspaceClient(http, http, base, target.project_id, clock)
            # One budget for all readings of a run, although each has a client of its own.
            service.listen, service.requests, service.budgets = client.listen, client.requests, client.budgets
            service.about = f"the backup service is at {base}; RECONCILER_CBR_ENDPOINT names another address"
            yield service

    return opened


async def projects_of(
    settings: Settings, credentials: Credentials, region: str, clock: Clock, keys: TemporaryKeys | None
) -> tuple[iam.Project, ...]:
    """Every project that these credentials reach, as IAM says; raises ``ServiceError``."""
    base = iam_endpoint(settings, region)
    # Without a project, as the SDK signs this call: it concerns the account.
    auth = TemporaryAuth(keys, "", clock.now) if keys else _given(credentials, "", clock)
    async with open_http(base, auth) as http:
        return await iam.list_projects(http, base)


def iam_endpoint(settings: Settings, region: str) -> str:
    """Origin of IAM."""
    return settings.iam_endpoint or default_endpoint("iam", region)


def _given(credentials: Credentials, project_id: str, clock: Clock) -> httpx.Auth:
    match credentials:
        case AccessKeys():
            return SdkHmacAuth(credentials, project_id, clock.now)
        case Token(value):
            return TokenAuth(value)
    raise TypeError("these credentials have to be exchanged first")
