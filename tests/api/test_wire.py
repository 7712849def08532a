from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.wire import DecodeError, JobBody, decode, decode_pool, decode_pools

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
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
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
