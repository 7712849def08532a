"""Agencies and projects: temporary keys that sign as the official signer makes it, and end."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials  # type: ignore[import-untyped]
from huaweicloudsdkcore.sdk_request import SdkRequest  # type: ignore[import-untyped]
from huaweicloudsdkcore.signer.signer import Signer  # type: ignore[import-untyped]

from reconciler import sandbox
from reconciler.sandbox.agencies import agency_urn
from tests.sandbox.asking import JSON, START, TOKEN, Asked
from tests.sandbox.test_auth import HOST, POOLS

ASSUME, OIDC, PROJECTS = "/v3.0/OS-CREDENTIAL/securitytokens", "/v5/agencies/assume-with-oidc", "/v3/projects"


def role(name: str = sandbox.AGENCY, domain: str = "sandbox", seconds: object = 900) -> dict[str, Any]:
    asked = {"agency_name": name, "domain_name": domain, "duration_seconds": seconds}
    return {"auth": {"identity": {"methods": ["assume_role"], "assume_role": asked}}}


def jwt(ends: float) -> str:
    payload = base64.urlsafe_b64encode(json.dumps({"exp": ends}).encode()).decode().rstrip("=")
    return f"e30.{payload}.c2ln"


def oidc(token: str, **changes: object) -> dict[str, object]:
    urn = agency_urn(sandbox.default_world()["accounts"][0])
    asked = {"provider_urn": "p", "agency_urn": urn, "agency_session_name": "s", "id_token": token}
    return asked | {"duration_seconds": 900} | changes


def read_with(asked: Asked, access: str, secret: str, token: str, at: float) -> int:
    """The status of a list of pools, signed with temporary keys by the vendor's own code."""
    asked.now = at
    given = JSON | {"X-Project-Id": sandbox.PROJECT_ID, "X-Security-Token": token}
    given["X-Sdk-Date"] = datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")
    request = SdkRequest(
        method="GET",
        schema="https",
        host=HOST,
        resource_path=POOLS,
        query_params=[],
        header_params=given,
        body=b"",
    )
    signed = Signer(BasicCredentials(access, secret, sandbox.PROJECT_ID)).sign(request)
    return asked.ask("GET", signed.uri, headers=signed.header_params).status_code


def test_keys_of_an_agency_hold_to_their_end_with_their_token_alone() -> None:
    asked = Asked(headers=TOKEN)
    answer = asked.ask("POST", ASSUME, json=role())
    assert answer.status_code == 201
    keys = answer.json()["credential"]
    assert keys["expires_at"] == "2027-01-15T08:15:00.000000Z"
    asked.headers = {}
    given = (keys["access"], keys["secret"], keys["securitytoken"])
    assert read_with(asked, *given, START + 899) == 200
    assert read_with(asked, *given, START + 900) == 401
    assert read_with(asked, keys["access"], keys["secret"], "", START) == 401
    assert read_with(asked, keys["access"], "wrong", keys["securitytoken"], START) == 401
    assert read_with(asked, "HSTSOMETHINGELSE", keys["secret"], keys["securitytoken"], START) == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (role(name="none"), 404),
        (role(domain="none"), 404),
        (role(seconds=899), 400),
        (role(seconds="900"), 400),
        ({"auth": {"identity": {"methods": ["token"]}}}, 400),
        ({}, 400),
        ([], 400),
    ],
)
def test_what_is_no_agency_is_refused(body: object, status: int) -> None:
    assert Asked(headers=TOKEN).ask("POST", ASSUME, json=body).status_code == status


def test_an_agency_is_assumed_by_somebody_alone() -> None:
    assert Asked(headers={}).ask("POST", ASSUME, json=role()).status_code == 401


def test_a_token_of_a_provider_buys_keys_while_it_holds() -> None:
    asked = Asked(headers={})
    answer = asked.ask("POST", OIDC, json=oidc(jwt(START + 60)))
    assert answer.status_code == 200
    keys = answer.json()["credentials"]
    given = (keys["access_key_id"], keys["secret_access_key"], keys["security_token"])
    assert read_with(asked, *given, START + 600) == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (oidc(jwt(START)), 403),
        (oidc("no-token"), 403),
        (oidc(jwt(START + 60), agency_urn="iam::x:agency:y"), 404),
        (oidc(""), 400),
        ({}, 400),
        ("text", 400),
    ],
)
def test_what_is_no_good_token_buys_nothing(body: object, status: int) -> None:
    assert Asked(headers={}).ask("POST", OIDC, json=body).status_code == status


def test_a_caller_sees_the_projects_that_it_reaches() -> None:
    asked = Asked(headers=TOKEN)
    projects = asked.ask("GET", PROJECTS).json()["projects"]
    assert [(each["id"], each["name"]) for each in projects] == [(sandbox.PROJECT_ID, sandbox.REGION)]
    asked.world["accounts"][0]["denied"].append("list-projects")
    assert asked.ask("GET", PROJECTS).status_code == 403
    asked.headers = {}
    assert asked.ask("GET", PROJECTS).status_code == 401
