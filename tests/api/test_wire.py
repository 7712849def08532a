from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.wire import (
    MOST_OBJECTS,
    DecodeError,
    JobBody,
    SubJobsPage,
    carries_error,
    decode,
    decode_pool,
    decode_pools,
)
from tests.texts import texts

GOOD = {
    "id": "p",
    "name": "n",
    "data_volumes": [{"id": "d", "type": "SAS", "size": 10, "kms_id": None, "unknown": {"a": [1]}}],
    "status": "STEADY",
    "charging_mode": "1",
    "desktop_count": 3,
    "created_time": "2022-05-11T11:45:42.000Z",
    "unknown": [[], {}],
}


def page(*items: Any, total: int | None = None) -> bytes:
    return json.dumps(
        {"total_count": len(items) if total is None else total, "desktop_pools": items}
    ).encode()


def test_a_whole_page_decodes_with_unknown_fields_ignored() -> None:
    found = decode_pools(page(GOOD))
    (pool,) = found.desktop_pools
    assert (pool.id, pool.name, pool.status, pool.charging_mode, pool.desktop_count) == (
        "p",
        "n",
        "STEADY",
        "1",
        3,
    )
    assert pool.data_volumes is not None
    assert (pool.data_volumes[0].id, pool.data_volumes[0].size) == ("d", 10)
    assert pool.doubts == []


def test_absent_disks_are_told_from_none() -> None:
    with_none, absent = decode_pools(page({"id": "a", "data_volumes": []}, {"id": "b"})).desktop_pools
    assert (with_none.data_volumes, absent.data_volumes) == ([], None)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"data_volumes": [{"id": "d", "type": "SAS", "size": "10"}]}, "$.data_volumes[0].size"),
        ({"data_volumes": [{"id": "d", "type": "SAS"}]}, "size"),
        ({"data_volumes": [{"id": "d", "size": 10}]}, "type"),
        ({"data_volumes": [{"id": 7, "type": "SAS", "size": 10}]}, "$.data_volumes[0].id"),
        ({"data_volumes": [{"id": "d", "type": "SAS", "size": True}]}, "$.data_volumes[0].size"),
        ({"data_volumes": [{"id": "d", "type": "SAS", "size": 10.5}]}, "$.data_volumes[0].size"),
        ({"data_volumes": {"id": "d"}}, "$.data_volumes"),
        ({"data_volumes": "none"}, "$.data_volumes"),
        ({"status": 1}, "$.status"),
        ({"charging_mode": 0}, "$.charging_mode"),
        ({"name": ["n"]}, "$.name"),
        ({"desktop_count": "3"}, "$.desktop_count"),
    ],
)
def test_one_malformed_pool_keeps_its_doubt_and_spoils_no_other(change: dict[str, Any], where: str) -> None:
    bad, good = decode_pools(page(GOOD | change, GOOD | {"id": "q"})).desktop_pools
    assert bad.id == "p"
    assert len(bad.doubts) == 1
    assert where in bad.doubts[0]
    assert not bad.data_volumes
    assert (good.id, good.doubts) == ("q", [])
    assert decode_pool(json.dumps(GOOD | change).encode()).doubts == bad.doubts


@pytest.mark.parametrize("name", [b'"Caf\xff"', b'["Caf\xff"]', b'{"a": "\xff"}'])
def test_a_name_that_is_not_utf_8_spoils_its_own_pool_alone(name: bytes) -> None:
    raw = json.dumps(GOOD | {"name": "NAME"}).encode().replace(b'"NAME"', name)
    body = page("POOL", GOOD | {"id": "q"}).replace(b'"POOL"', raw)
    bad, good = decode_pools(body).desktop_pools
    assert (bad.id, len(bad.doubts), bad.data_volumes) == ("p", 1, [])
    assert bad.name in (None, "Caf\ufffd")
    assert (good.id, good.doubts) == ("q", [])
    assert decode_pool(raw) == bad


def test_an_id_that_is_not_utf_8_is_never_mended_into_another() -> None:
    raw = json.dumps(GOOD | {"id": "ID"}).encode().replace(b'"ID"', b'"p\xff"')
    with pytest.raises(DecodeError):
        decode_pool(raw)
    with pytest.raises(DecodeError):
        decode_pools(page("POOL").replace(b'"POOL"', raw))


@pytest.mark.parametrize("number", [11, 1_500, 120_000])
def test_a_pool_with_more_disks_than_any_can_have_is_counted_and_not_read(number: int) -> None:
    many = GOOD | {"data_volumes": [{"id": str(each), "type": "SAS", "size": 10} for each in range(number)]}
    bad, good = decode_pools(page(many, GOOD | {"id": "q"})).desktop_pools
    assert bad.doubts == [f"{number} disks, and no pool can have more than 10"]
    assert bad.data_volumes == []
    assert good.doubts == []


def test_ten_disks_are_read() -> None:
    ten = GOOD | {"data_volumes": [{"id": str(each), "type": "SAS", "size": 10} for each in range(10)]}
    assert len(decode_pool(json.dumps(ten).encode()).data_volumes or ()) == 10


@pytest.mark.parametrize(
    ("more", "error"),
    [
        (b"null", False),
        (b'""', False),
        (b"0", False),
        (b"false", False),
        (b"[]", False),
        (b" { } ", False),
        (b'"WKS.0001"', True),
        (b"7", True),
        (b"[0]", True),
        (b"0.5", True),
    ],
)
def test_a_success_carries_an_error_when_its_code_says_anything(more: bytes, error: bool) -> None:
    assert carries_error(b'{"error_code": ' + more + b', "error_msg": "m"}') is error
    assert carries_error(b'{"backups": ["' + b"x" * 10_000 + b'"], "error_code": ' + more + b"}") is error


@pytest.mark.parametrize(
    "body", [b'{"jobs": [{"error_code": "x"}]}', b'["error_code"]', b'{"error_code": "x"']
)
def test_a_code_further_inside_or_in_no_object_is_no_error_of_the_answer(body: bytes) -> None:
    assert not carries_error(body)


def test_more_values_than_any_answer_has_are_refused_before_anything_is_made_of_them() -> None:
    subs = b'{"total_count": 1, "jobs": [' + b",".join([b'{"id":"s"}'] * (MOST_OBJECTS + 1)) + b"]}"
    with pytest.raises(DecodeError, match="more values than any answer"):
        decode(subs, SubJobsPage)


@pytest.mark.parametrize("item", [{"name": "n"}, {"id": ""}, {"id": None}, {"id": 7}, "p", None, []])
def test_a_pool_without_a_usable_id_spoils_the_page(item: Any) -> None:
    with pytest.raises(DecodeError):
        decode_pools(page(GOOD, item))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"total_count": 0}',
        b'{"desktop_pools": []}',
        b'{"total_count": null, "desktop_pools": []}',
        b'{"total_count": 0, "desktop_pools": null}',
        b'{"total_count": 0, "desktop_pools": []',
        b"[" * 100_000,
        b'{"desktop_pools":' + b"[" * 100_000,
        b"\xff\xfe",
        b"<html>",
    ],
)
def test_what_is_no_page_is_garbage(body: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_pools(body)


def test_a_deep_pool_is_garbage_or_ignored_but_never_a_crash() -> None:
    deep = b'{"total_count": 1, "desktop_pools": [{"id": "p", "new": %s%s}]}' % (b"[" * 5000, b"]" * 5000)
    with pytest.raises(DecodeError):
        decode_pools(deep)


def test_null_counts_as_absent() -> None:
    assert decode(b'{"id": null, "sub_jobs": null, "status": null}', JobBody) == JobBody()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "size", "type"]), inner)
    ),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.sampled_from([*GOOD]), json_values), max_size=3))
def test_any_json_is_a_page_or_garbage(items: list[Any]) -> None:
    try:
        found = decode_pools(page(*items))
    except DecodeError:
        return
    assert [pool.id for pool in found.desktop_pools] == [item["id"] for item in items]
