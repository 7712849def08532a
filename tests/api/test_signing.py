"""Our signatures equal those of the official SDK."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

from huaweicloudsdkcore.auth.credentials import BasicCredentials  # type: ignore[import-untyped]
from huaweicloudsdkcore.sdk_request import SdkRequest  # type: ignore[import-untyped]
from huaweicloudsdkcore.signer.signer import Signer  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.api.signing import SIGNED_AT, SdkHmacAuth
from reconciler.api.transport import httpx
from reconciler.credentials import AccessKeys, Secret
from tests.texts import texts

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
HOST = "workspace.ap-southeast-3.myhuaweicloud.com"

short = texts(max_size=12)
tricky = st.sampled_from(
    ["", " ", "a b", "%", "%41", "+", "~", "ü", "财务", "a/b", "a=b&c", "True", "-_.~", "?", "#"]
)
values = short | tricky
queries = st.dictionaries(
    values.filter(bool), values | st.lists(values, max_size=3) | st.booleans() | st.integers(), max_size=5
)
segments = st.lists((short | tricky).filter(lambda text: text not in {".", ".."}), max_size=5)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))
words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=40)


def signed(request: httpx.Request, keys: AccessKeys, project: str, now: datetime = NOW) -> httpx.Request:
    return next(SdkHmacAuth(keys, project, lambda: now).auth_flow(request))


def official(request: httpx.Request, query: dict[str, Any], keys: AccessKeys) -> str:
    """The header that the official signer makes of the same request."""
    names = ["X-Sdk-Date", "Host", "X-Project-Id", "X-Security-Token", "Content-Type"]
    theirs = SdkRequest(
        method=request.method,
        schema="https",
        host=HOST,
        resource_path=request.url.raw_path.partition(b"?")[0].decode(),
        query_params=list(query.items()),
        header_params={name: request.headers[name] for name in names if name in request.headers},
        body=request.content,
    )
    credentials = BasicCredentials(keys.ak, keys.sk.reveal(), "p")
    return str(Signer(credentials).sign(theirs).header_params["Authorization"])


@settings(max_examples=600)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    path=segments,
    query=queries,
    body=st.binary(max_size=60),
    moment=moments,
    keys=st.builds(AccessKeys, words, st.builds(Secret, words), st.none() | st.builds(Secret, words)),
    project=words,
)
def test_every_signature_equals_that_of_the_official_sdk(
    method: str,
    path: list[str],
    query: dict[str, Any],
    body: bytes,
    moment: datetime,
    keys: AccessKeys,
    project: str,
) -> None:
    url = f"https://{HOST}/" + "/".join(quote(each, safe="~") for each in path)
    request = httpx.Request(
        method, url, params=query or None, content=body, headers={"Content-Type": "application/json"}
    )
    signed(request, keys, project, moment)
    assert request.headers["Authorization"] == official(request, query, keys)


def test_the_signed_headers_are_those_the_service_checks() -> None:
    request = httpx.Request(
        "GET", f"https://{HOST}/v2/p/desktop-pools", headers={"Content-Type": "application/json"}
    )
    signed(request, AccessKeys("AK", Secret("SK"), Secret("T")), "p")
    names = "content-type;host;x-project-id;x-sdk-date;x-security-token"
    assert f"SignedHeaders={names}," in request.headers["Authorization"]
    assert request.headers["X-Security-Token"] == "T"


def test_a_write_is_signed_with_the_moment_it_was_journalled_with() -> None:
    earlier = datetime(2026, 3, 1, 9, 30, tzinfo=timezone(timedelta(hours=2)))
    request = httpx.Request("POST", f"https://{HOST}/", extensions={SIGNED_AT: earlier})
    signed(request, AccessKeys("AK", Secret("SK")), "p")
    assert request.headers["X-Sdk-Date"] == "20260301T073000Z"
