"""Opens the client for one target: authentication from its credentials, addresses from its region.

``credentials`` and ``settings`` read the configuration; ``client`` makes the calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from reconciler.api.client import WorkspaceClient
from reconciler.api.signing import SdkHmacAuth
from reconciler.api.token import METADATA, MetadataAuth, PasswordAuth, TokenAuth
from reconciler.api.transport import httpx, open_http
from reconciler.clock import Clock
from reconciler.credentials import AccessKeys, Credentials, Metadata, Password, Token
from reconciler.model import Target
from reconciler.settings import Settings, default_endpoint


@asynccontextmanager
async def open_client(
    settings: Settings,
    credentials: Credentials,
    target: Target,
    clock: Clock,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[WorkspaceClient]:
    """A client for one target; ``transport`` replaces the network, for a service in this process."""
    base = settings.endpoint or default_endpoint("workspace", target.region)
    async with AsyncExitStack() as stack:
        iam = ""
        if isinstance(credentials, Password):
            iam = settings.iam_endpoint or default_endpoint("iam", target.region)
        login = await stack.enter_async_context(open_http(iam or METADATA, transport=transport))
        auth = _auth(credentials, target.project_id, clock, iam, login)
        reads = await stack.enter_async_context(open_http(base, auth, transport))
        # A write gets its own connection: on a reused one that the server has just closed, nobody could say
        # whether the request arrived.
        writes = await stack.enter_async_context(open_http(base, auth, transport, idle_connections=0))
        yield WorkspaceClient(reads, writes, base, target.project_id, clock, concurrency=settings.concurrency)


def _auth(
    credentials: Credentials, project_id: str, clock: Clock, iam: str, login: httpx.AsyncClient
) -> httpx.Auth:
    match credentials:
        case AccessKeys():
            return SdkHmacAuth(credentials, project_id, clock.now)
        case Token(value):
            return TokenAuth(value)
        case Password():
            return PasswordAuth(credentials, iam, project_id, login)
        case Metadata():
            return MetadataAuth(project_id, clock.now, login)
