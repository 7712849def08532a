"""What the client sends fits the vendor's contract: queries, and bodies under every dated revision."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.contract import published
from tests.contract.conversation import Exchange, conversation
from tests.contract.published import READS, WRITES, faults, operation, operations, query_faults


def exchanges(name: str) -> list[Exchange]:
    wanted = operation(name)
    return [each for each in conversation() if wanted.takes(each.method, each.path)]


def revisions() -> list[Any]:
    pairs = [(name, date) for name in WRITES for date in operation(name).bodies]
    return [pytest.param(*pair, id="-".join(pair)) for pair in pairs]


@pytest.mark.parametrize("name", READS)
def test_every_query_has_only_parameters_and_values_that_the_contract_knows(name: str) -> None:
    asked = exchanges(name)
    assert asked
    assert [fault for each in asked for fault in query_faults(each.query, operation(name).query)] == []
    assert not any(each.body for each in asked)


@pytest.mark.parametrize(("name", "date"), revisions())
def test_every_write_fits_every_dated_revision(name: str, date: str) -> None:
    sent = [json.loads(each.body) for each in exchanges(name)]
    assert sent
    assert [fault for body in sent for fault in faults(body, operation(name).bodies[date])] == []


@pytest.mark.parametrize("name", WRITES)
def test_a_write_says_nothing_that_no_revision_knows(name: str) -> None:
    known = {key for body in operation(name).bodies.values() for key in body["properties"]}
    known_items = {
        key
        for body in operation(name).bodies.values()
        for key in body["properties"]["volumes"]["items"]["properties"]
    }
    for each in exchanges(name):
        body = json.loads(each.body)
        # Later than the one published revision of batch-expand; the official SDK has it (test_official_sdk.py).
        assert set(body) <= known | {"handle_type"}
        assert {key for volume in body["volumes"] for key in volume} <= known_items
        assert each.query == ""


def test_every_call_goes_to_a_published_path_or_to_one_that_is_known_to_have_no_document() -> None:
    strangers = {
        (each.method, each.path.rsplit("/", 1)[-1])
        for each in conversation()
        if not any(known.takes(each.method, each.path) for known in operations())
    }
    details = {tail for method, tail in strangers if method == "GET" and tail != "inconsistent-statics"}
    # The official SDK stands in for the document of a message (test_official_sdk.py).
    assert {tail for method, tail in strangers if method != "GET"} == {"notifications"}
    assert len(details) == 5, "one detail call for each pool of the world, and nothing else"


def test_the_check_itself_sees_what_breaks_the_contract() -> None:
    delete = operation("DeleteDesktopPoolVolumes")
    nameless = {"volumes": [{"type": "SAS", "size": 10}]}
    assert {date for date, body in delete.bodies.items() if faults(nameless, body)} == {
        "2026-01-16",
        "2026-04-25",
    }
    bare = {"volumes": [{"id": "a"}]}
    assert {date for date, body in delete.bodies.items() if faults(bare, body)} == {
        "2024-11-29",
        "2025-01-10",
        "2025-07-11",
        "2026-01-09",
    }
    assert len(delete.bodies) == 6
    many = {"volumes": [{"id": str(number), "type": "SAS", "size": 10} for number in range(11)]}
    assert all(faults(many, body) for body in delete.bodies.values())
    lists = operation("ListDesktopPools").query
    assert query_faults("limit=1001&offset=0&sort=name", lists) == [
        "limit: $: 1001 is greater than the maximum of 1000",
        "sort: no such parameter",
    ]
    assert published.faults([], published.strict({"properties": {}}, "any")), "no object where one is meant"
