"""The part of the identity service that a client needs: password login.

``auth`` checks the tokens afterwards; ``agencies`` has temporary keys.
"""

from __future__ import annotations

from collections.abc import Mapping

from . import errors
from .auth import TOKEN_LIFE, issue_token
from .world import Account, Project, World, derived_id, iso


def log_in(world: World, body: object, now: float) -> tuple[str, dict[str, object]]:
    """Answer ``POST /v3/auth/tokens``: the token for the header ``X-Subject-Token``, and the document (201)."""
    auth = part(body, "auth", "the request body")
    methods = part(auth, "identity", "auth")
    if methods.get("methods") != ["password"]:
        raise errors.identity(400, "The only simulated method is password.")
    user = part(part(methods, "password", "identity"), "user", "password")
    domain = part(user, "domain", "user")
    account = _account(world, user.get("name"), user.get("password"), domain.get("name"))
    project = _scope(world, account, auth)
    shown: dict[str, object] = {
        "methods": ["password"],
        "issued_at": iso(now),
        "expires_at": iso(now + TOKEN_LIFE),
        "user": {
            "id": derived_id("user", account["user"]),
            "name": account["user"],
            "domain": {"id": derived_id("domain", account["domain"]), "name": account["domain"]},
        },
        "roles": [],
        "catalog": [],
    }
    if project is not None:
        shown["project"] = {"id": project["id"], "name": project["region"]}
    return issue_token(account, project["id"] if project else "", now), {"token": shown}


def part(value: object, key: str, where: str) -> Mapping[str, object]:
    """One object inside another; refuses with 400 where it is missing."""
    part = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(part, Mapping):
        raise errors.identity(400, f"Expecting to find {key} in {where}. The request is malformed.")
    return part


def _account(world: World, user: object, password: object, domain: object) -> Account:
    for account in world["accounts"]:
        if account["user"] and (account["user"], account["password"], account["domain"]) == (
            user,
            password,
            domain,
        ):
            return account
    raise errors.identity(401, "The username or password is wrong.")


def _scope(world: World, account: Account, auth: Mapping[str, object]) -> Project | None:
    scope = auth.get("scope")
    if not isinstance(scope, Mapping) or "project" not in scope:
        return None
    wanted = part(scope, "project", "scope")
    for project_id in account["projects"]:
        project = world["projects"][project_id]
        if wanted.get("id", project["id"]) == project["id"] and (
            wanted.get("name", project["region"]) == project["region"]
        ):
            return project
    raise errors.identity(401, "The project of the scope is not found.")
