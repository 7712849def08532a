"""Asks IAM which projects the credentials reach: ``GET /v3/projects``.

What follows for a target is left to ``cli.interlock``. The SDK's core asks the same call for the project of a region
(``IamHelper.get_keystone_list_projects_request``); here all are listed, since a region can have sub-projects.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from reconciler.api.failure import failure
from reconciler.api.token import LOGIN_SECONDS
from reconciler.api.transport import CALL_NAME, ProtocolError, fetch, httpx
from reconciler.errors import ServiceError
from reconciler.safe_text import safe_text

CALL = "list projects"


class Project(NamedTuple):
    """One project of the account."""

    id: str
    name: str
    """The region's id, or that with ``_`` and a name for a sub-project (documented)."""

    def in_region(self, region: str) -> bool:
        """Whether it is a project of this region."""
        return self.name == region or self.name.startswith(f"{region}_")


class _Entry(msgspec.Struct):
    id: str
    name: str


class _Answer(msgspec.Struct):
    projects: list[_Entry]


async def list_projects(http: httpx.AsyncClient, iam: str) -> tuple[Project, ...]:
    """Every project that these credentials reach; raises ``ServiceError``."""
    request = http.build_request(
        "GET",
        f"{iam}/v3/projects",
        headers={"Content-Type": "application/json"},
        extensions={CALL_NAME: CALL},
    )
    try:
        answer = await fetch(http, request, LOGIN_SECONDS)
    except (httpx.HTTPError, ProtocolError, TimeoutError, OSError) as error:
        reason = safe_text(str(error)) or type(error).__name__
        raise ServiceError(f"{CALL}: {iam}: {reason}", "is the IAM endpoint right and reachable?") from None
    try:
        found = msgspec.json.decode(answer.body, type=_Answer) if answer.status == 200 else None
    except ValueError:
        found = None
    if found is None:
        raise failure(CALL, answer.status, answer.headers, answer.body)
    return tuple(Project(safe_text(each.id), safe_text(each.name)) for each in found.projects)
