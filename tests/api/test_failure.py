from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.failure import ACTIONS, failure, parse_error
from tests.texts import texts


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"error_code": "WKS.0001", "error_msg": "m"}, ("WKS.0001", "m")),
        ({"error_msg": "m", "error_code": "APIGW.0308", "request_id": "r"}, ("APIGW.0308", "m")),
        (
            {"error_code": "C", "error_msg": "m", "error_detail": "d", "encoded_authorization_message": "x"},
            ("C", "m"),
        ),
        ({"errorCode": "C", "errorMsg": "m"}, ("C", "m")),
        ({"code": "C", "message": "m"}, ("C", "m")),
        ({"error": {"code": 401, "message": "m", "title": "Unauthorized"}}, ("401", "m")),
        ({"error": {"error_code": "C", "error_msg": "m"}}, ("C", "m")),
        ({"error_code": "C", "error_msg": ""}, ("C", "")),
    ],
)
def test_every_spelling_of_an_error_is_read(body: Any, error: tuple[str, str]) -> None:
    assert parse_error(json.dumps(body).encode()) == error


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{}",
        b'{"error_code": "C"}',
        b'{"error_msg": "m"}',
        b"\xff",
        b"<html>",
        b"[" * 10**5,
        b'{"error_code": true, "error_msg": "m"}',
        b'{"error_code": "", "error_msg": "m"}',
        b'{"error_code": ["C"], "error_msg": "m"}',
    ],
)
def test_anything_else_is_no_error_of_the_service(body: bytes) -> None:
    assert parse_error(body) is None


@pytest.mark.parametrize("call", [*ACTIONS, "ask who answers"])
def test_a_refused_permission_names_the_action_of_the_call(call: str) -> None:
    error = failure(call, 403, {}, b'{"error_code": "C", "error_msg": "m"}')
    assert ACTIONS.get(call, "lacks a permission") in error.hint


@given(
    st.sampled_from([*ACTIONS]),
    st.integers(200, 599),
    texts() | st.binary(),
    st.dictionaries(st.just("x-request-id"), st.text(st.characters(max_codepoint=0xFF))),
)
def test_any_answer_becomes_one_printable_sentence_with_advice(
    call: str, status: int, text: str | bytes, headers: dict[str, str]
) -> None:
    body = text if isinstance(text, bytes) else json.dumps({"error_code": text, "error_msg": text}).encode()
    error = failure(call, status, headers, body)
    assert error.message.isprintable()
    assert error.hint
    assert f"HTTP {status}" in error.message
