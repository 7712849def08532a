"""The parts of IAM and STS that a client needs for agencies: temporary keys, and the list of projects.

``auth`` knows temporary keys again. Written from the documents alone: "Obtaining a Temporary AK/SK Through an
Agency", "Querying Project Information", and the SDK's request for ``assume-with-oidc``. Of a provider's token only
its form and its end are looked at, as nobody here knows the provider's keys.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Final

from . import errors
from .auth import Incoming, authenticate, issue_keys
from .identity import part
from .world import Account, World, derived_id, iso

SHORTEST: Final = 900
LONGEST: Final = 86_400
"""Seconds that temporary keys may live (documented)."""


def list_projects(world: World, incoming: Incoming, now: float) -> dict[str, object]:
    """Answer ``GET /v3/projects``: the projects that the caller reaches."""
    account, reach = authenticate(world, incoming, now)
    if "list-projects" in account["denied"]:
        raise errors.identity(403, "You are not authorized to perform the requested action.")
    domain = derived_id("domain", account["domain"])
    projects = [
        {
            "id": project_id,
            "name": world["projects"][project_id]["region"],
            "domain_id": domain,
            "parent_id": domain,
            "is_domain": False,
            "enabled": True,
            "description": "",
            "links": {"self": f"https://iam.invalid/v3/projects/{project_id}"},
        }
        for project_id in reach
    ]
    return {
        "links": {"self": "https://iam.invalid/v3/projects", "previous": None, "next": None},
        "projects": projects,
    }


def assume(world: World, incoming: Incoming, body: object, now: float) -> dict[str, object]:
    """Answer ``POST /v3.0/OS-CREDENTIAL/securitytokens`` for an agency (201)."""
    authenticate(world, incoming, now)
    identity = part(part(body, "auth", "the request body"), "identity", "auth")
    if identity.get("methods") != ["assume_role"]:
        raise errors.identity(400, "The only simulated method is assume_role.")
    role = part(identity, "assume_role", "identity")
    account = next((each for each in world["accounts"] if _is(each, role)), None)
    if account is None:
        raise errors.identity(404, f"Could not find agency: {role.get('agency_name')}.")
    access, secret, token, ends = issue_keys(account, now, _duration(role.get("duration_seconds", SHORTEST)))
    return {
        "credential": {"access": access, "secret": secret, "securitytoken": token, "expires_at": _micro(ends)}
    }


def assume_with_oidc(world: World, body: object, now: float) -> dict[str, object]:
    """Answer ``POST /v5/agencies/assume-with-oidc`` (200)."""
    asked = body if isinstance(body, Mapping) else {}
    needed = ("provider_urn", "agency_urn", "agency_session_name", "id_token")
    if missing := [name for name in needed if not isinstance(asked.get(name), str) or not asked[name]]:
        raise _refused(400, f"{missing[0]} is required")
    if _end(str(asked["id_token"])) <= now:
        raise _refused(403, "the id token is expired or is no token")
    urn = asked["agency_urn"]
    account = next((each for each in world["accounts"] if urn == agency_urn(each)), None)
    if account is None:
        raise _refused(404, f"the agency {urn} does not exist")
    access, secret, token, ends = issue_keys(account, now, _duration(asked.get("duration_seconds", 3600)))
    return {
        "assumed_agency": {"urn": urn, "id": derived_id("agency", urn)},
        "credentials": {
            "access_key_id": access,
            "secret_access_key": secret,
            "security_token": token,
            "expiration": _micro(ends),
        },
    }


def agency_urn(account: Account) -> str:
    """The name by which STS knows the agency that acts as an account; empty for an account without one."""
    name = account.get("agency", "")
    return f"iam::{derived_id('domain', account['domain'])}:agency:{name}" if name else ""


def _is(account: Account, role: Mapping[str, object]) -> bool:
    named = (role.get("agency_name"), role.get("domain_name"))
    return bool(account.get("agency")) and named == (account.get("agency"), account["domain"])


def _duration(given: object) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or not SHORTEST <= given <= LONGEST:
        raise errors.identity(400, f"duration_seconds must be from {SHORTEST} to {LONGEST}.")
    return given


def _end(token: str) -> float:
    """When a JWT ends, in seconds since the epoch; 0 for what is none."""
    try:
        _, payload, _ = token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (ValueError, KeyError, TypeError):
        return 0.0


def _micro(moment: float) -> str:
    """Time as IAM shows it, with microseconds."""
    return iso(moment).replace("Z", "000Z")


def _refused(status: int, message: str) -> errors.Refusal:
    """A refusal by STS (inferred shape: that of the other v5 interfaces)."""
    return errors.Refusal(status, {"error_code": "STS5.0001", "error_msg": message})
