"""Owns opening a target: credentials to authentication, region to address, one client per target."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from reconciler.api.client import WorkspaceClient
from reconciler.api.signing import SdkHmacAuth
from reconciler.api.token import MetadataAuth, PasswordAuth, TokenAuth
from reconciler.api.transport import httpx, open_http
from reconciler.clock import Clock
from reconciler.model import Target
from reconciler.settings import (
    AccessKeys,
    Credentials,
    Metadata,
    Password,
    Settings,
    Token,
    default_endpoint,
)


@asynccontextmanager
async def open_client(
    settings: Settings,
    credentials: Credentials,
    target: Target,
    clock: Clock,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[WorkspaceClient]:
    """One client for one target; ``transport`` lets a service in this process answer."""
    auth = _auth(target, settings, credentials, clock)
    base = settings.endpoint or default_endpoint("workspace", target.region)
    async with (
        open_http(auth, transport) as reads,
        open_http(auth, transport, keep_alive=False) as writes,
    ):
        yield WorkspaceClient(reads, writes, base, target.project_id, clock)


def _auth(target: Target, settings: Settings, credentials: Credentials, clock: Clock) -> httpx.Auth:
    match credentials:
        case AccessKeys():
            return SdkHmacAuth(credentials, target.project_id, clock.now)
        case Token(value):
            return TokenAuth(value)
        case Password():
            iam = settings.iam_endpoint or default_endpoint("iam", target.region)
            return PasswordAuth(credentials, iam, target.project_id)
        case Metadata():
            return MetadataAuth(target.project_id, clock.now)
