"""Credentials: signatures as the official signer makes them, tokens, logins, projects, permissions."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials  # type: ignore[import-untyped]
from huaweicloudsdkcore.sdk_request import SdkRequest  # type: ignore[import-untyped]
from huaweicloudsdkcore.signer.signer import Signer  # type: ignore[import-untyped]

from reconciler import sandbox
from reconciler.sandbox.world import World
from tests.sandbox.asking import JSON, START, Asked, code

HOST = sandbox.IN_PROCESS_BASE_URL.removeprefix("https://")
POOLS = f"/v2/{sandbox.PROJECT_ID}/desktop-pools"


def officially_signed(
    method: str = "GET",
    path: str = POOLS,
    query: list[tuple[str, Any]] | None = None,
    *,
    body: bytes = b"",
    secret: str = sandbox.SECRET_KEY,
    at: float = START,
    **headers: str,
) -> dict[str, Any]:
    """What to send, signed by the vendor's own code."""
    given = JSON | {"X-Project-Id": sandbox.PROJECT_ID}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    given["X-Sdk-Date"] = datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")
    request = SdkRequest(
        method=method,
        schema="https",
        host=HOST,
        resource_path=path,
        query_params=query or [],
        header_params=given,
        body=body,
    )
    signed = Signer(BasicCredentials(sandbox.ACCESS_KEY, secret, sandbox.PROJECT_ID)).sign(request)
    return {"method": method, "url": signed.uri, "headers": signed.header_params, "content": body}


@pytest.fixture
def asked() -> Asked:
    return Asked(headers={})


def send(asked: Asked, request: dict[str, Any]) -> httpx.Response:
    return asked.ask(request.pop("method"), request.pop("url"), **request)


@pytest.mark.parametrize(
    "query",
    [
        [],
        [("limit", 5), ("offset", 0)],
        [("name", "a b+c~d/é财=&%")],
        [("name", "")],
        [("in_maintenance_mode", False)],
    ],
)
def test_what_the_official_signer_signs_is_let_in(asked: Asked, query: list[tuple[str, Any]]) -> None:
    assert send(asked, officially_signed(query=query)).status_code == 200


def test_repeated_parameters_are_signed_as_the_official_signer_does(asked: Asked) -> None:
    path = f"/v2/{sandbox.PROJECT_ID}/workspace-sub-jobs"
    request = officially_signed(path=path, query=[("status", ["WAITING", "RUNNING"]), ("limit", 10)])
    assert send(asked, request).status_code == 200


def test_a_signed_body_is_let_in_and_a_changed_one_is_not(asked: Asked) -> None:
    pool = asked.pool("finance-analysts")
    path = f"{POOLS}/{pool['id']}/volumes/batch-delete"
    body = json.dumps({"volumes": [{"id": pool["disks"][2]["id"]}]}).encode()
    forged = officially_signed("POST", path, body=body)
    forged["content"] = body.replace(b"volumes", b"Volumes")
    assert code(send(asked, forged)) == (401, "APIGW.0301")
    assert send(asked, officially_signed("POST", path, body=body)).status_code == 200


DELETION = POOLS + "/other/volumes/batch-delete"


@pytest.mark.parametrize(
    ("signed", "change"),
    [
        (("GET", POOLS), {"url": POOLS + "?limit=2"}),
        (("GET", POOLS), {"url": POOLS + "/other"}),
        (("GET", DELETION), {"method": "POST"}),
    ],
)
def test_a_signature_is_good_for_its_own_request_only(
    asked: Asked, signed: tuple[str, str], change: dict[str, str]
) -> None:
    assert code(send(asked, officially_signed(*signed) | change)) == (401, "APIGW.0301")


def test_a_wrong_secret_is_refused_in_the_shape_of_the_gateway(asked: Asked) -> None:
    answer = send(asked, officially_signed(secret="wrong"))
    assert code(answer) == (401, "APIGW.0301")
    assert answer.json()["request_id"] == answer.headers["X-Request-Id"]
    assert "verify aksk signature fail" in answer.json()["error_msg"]


@pytest.mark.parametrize(("off", "status"), [(-901, 401), (-900, 200), (900, 200), (901, 401)])
def test_a_signature_is_good_for_a_quarter_of_an_hour_either_way(asked: Asked, off: int, status: int) -> None:
    answer = send(asked, officially_signed(at=START + off))
    assert answer.status_code == status
    if status == 401:
        assert answer.json()["error_code"] == "APIGW.0303"


@pytest.mark.parametrize("name", ["Host", "X-Sdk-Date", "X-Project-Id", "Content-Type"])
def test_a_signed_header_that_is_changed_voids_the_signature(asked: Asked, name: str) -> None:
    request = officially_signed()
    stamp = datetime.fromtimestamp(START + 1, UTC).strftime("%Y%m%dT%H%M%SZ")
    request["headers"][name] = {"X-Sdk-Date": stamp}.get(name, "changed")
    assert code(send(asked, request)) == (401, "APIGW.0301")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic abc",
        "SDK-HMAC-SHA256 Access=x",
        f"SDK-HMAC-SHA256 Access={sandbox.ACCESS_KEY}, SignedHeaders=host, Signature={'0' * 64}",
        f"SDK-HMAC-SHA256 Access={sandbox.ACCESS_KEY}, SignedHeaders=x-sdk-date;host, Signature={'0' * 64}",
        f"SDK-HMAC-SHA256 Access=nobody, SignedHeaders=host;x-sdk-date, Signature={'0' * 64}",
    ],
)
def test_an_unreadable_or_careless_signature_is_refused(asked: Asked, header: str) -> None:
    headers = officially_signed()["headers"] | {"Authorization": header}
    assert asked.ask("GET", POOLS, headers=headers).status_code == 401


def test_without_credentials_nothing_is_disclosed(asked: Asked) -> None:
    assert code(asked.get("/desktop-pools")) == (401, "APIGW.0301")
    assert code(asked.ask("GET", POOLS, headers={"X-Auth-Token": "wrong"})) == (401, "APIGW.0301")


def test_temporary_keys_need_their_security_token(asked: Asked) -> None:
    asked.world["accounts"][0]["security_token"] = "short-lived"
    assert code(send(asked, officially_signed())) == (401, "APIGW.0301")
    assert code(send(asked, officially_signed(X_Security_Token="other"))) == (401, "APIGW.0301")
    assert send(asked, officially_signed(X_Security_Token="short-lived")).status_code == 200


def test_the_project_of_path_header_and_credentials_must_be_one(asked: Asked) -> None:
    other = "f" * 32
    elsewhere = POOLS.replace(sandbox.PROJECT_ID, other)
    assert code(send(asked, officially_signed(X_Project_Id=other))) == (403, "APIGW.0306")
    assert code(send(asked, officially_signed(path=elsewhere, X_Project_Id=other))) == (403, "APIGW.0310")
    asked.headers = {"X-Auth-Token": sandbox.TOKEN}
    assert code(asked.ask("GET", elsewhere)) == (403, "APIGW.0310")


def test_a_missing_permission_comes_with_the_encoded_reason(asked: Asked) -> None:
    asked.world["accounts"][0]["denied"] = ["batch-delete"]
    asked.headers = {"X-Auth-Token": sandbox.TOKEN}
    answer = asked.post(asked.pool("call-centre"), "batch-delete", {})
    assert answer.status_code == 403
    assert answer.json()["encoded_authorization_message"]
    assert asked.get("/desktop-pools").status_code == 200


# --- tokens -------------------------------------------------------------------------------------


def login(asked: Asked, password: str = "sandbox-password", scope: object = None) -> httpx.Response:
    user = {"name": "sandbox", "password": password, "domain": {"name": "sandbox"}}
    auth: dict[str, object] = {"identity": {"methods": ["password"], "password": {"user": user}}}
    if scope is not None:
        auth["scope"] = scope
    return asked.ask("POST", "/v3/auth/tokens", json={"auth": auth})


@pytest.mark.parametrize("project", [{"name": sandbox.REGION}, {"id": sandbox.PROJECT_ID}])
def test_a_login_gives_a_token_that_lives_for_a_day(asked: Asked, project: dict[str, str]) -> None:
    answer = login(asked, scope={"project": project})
    assert answer.status_code == 201
    assert answer.json()["token"]["project"]["id"] == sandbox.PROJECT_ID
    asked.headers = {"X-Auth-Token": answer.headers["X-Subject-Token"]}
    asked.now += 24 * 3600 - 1
    assert asked.get("/desktop-pools").status_code == 200
    asked.now += 1
    assert code(asked.get("/desktop-pools")) == (401, "APIGW.0307")


def test_a_token_without_a_project_reaches_no_pool(asked: Asked) -> None:
    asked.headers = {"X-Auth-Token": login(asked).headers["X-Subject-Token"]}
    assert asked.get("/desktop-pools").status_code == 403


def test_a_bad_login_is_refused_in_the_shape_of_the_identity_service(asked: Asked) -> None:
    wrong = login(asked, password="wrong", scope={"project": {"name": sandbox.REGION}})
    assert wrong.status_code == wrong.json()["error"]["code"] == 401
    assert login(asked, scope={"project": {"name": "elsewhere"}}).status_code == 401
    for body in (b"", b"[]", b'{"auth":{}}', b'{"auth":{"identity":{"methods":["password"]}}}'):
        assert asked.ask("POST", "/v3/auth/tokens", content=body).status_code == 400


def test_one_account_cannot_reach_what_belongs_to_another() -> None:
    world: World = sandbox.default_world()
    other = "a" * 32
    world["projects"][other] = {"id": other, "region": sandbox.REGION, "pools": {}}
    world["accounts"].append(
        {**world["accounts"][0], "access_key": "OTHER", "token": "other-token", "user": "other"}
    )
    world["accounts"][1]["projects"] = [other]
    asked = Asked(world, headers={"X-Auth-Token": "other-token"})
    assert code(asked.get("/desktop-pools")) == (403, "APIGW.0310")
    assert asked.ask("GET", f"/v2/{other}/desktop-pools").json()["total_count"] == 0
