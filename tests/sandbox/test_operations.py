"""Reads: fields, paging rules, filters, unstable order, errors."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler import sandbox
from tests.sandbox.asking import Asked, code


def disk_orders(pages: list[Any]) -> set[tuple[str, ...]]:
    return {tuple(disk["id"] for disk in page["data_volumes"]) for page in pages}


def test_pools_come_with_their_disks_in_one_request() -> None:
    found = Asked().read("/desktop-pools")
    assert found["total_count"] == len(found["desktop_pools"]) == 6
    finance = next(pool for pool in found["desktop_pools"] if pool["name"] == "finance-analysts")
    shapes = sorted((disk["type"], disk["size"]) for disk in finance["data_volumes"])
    assert shapes == [("SAS", 50), ("SAS", 200), ("SSD", 100)]
    assert (finance["desktop_count"], finance["desktop_used"], finance["charging_mode"]) == (12, 11, "1")
    assert finance["created_time"].endswith("Z")
    assert finance["root_volume"]["id"] not in {disk["id"] for disk in finance["data_volumes"]}


def test_neither_pools_nor_disks_nor_copies_have_a_stable_order() -> None:
    asked = Asked()
    lists = [asked.read("/desktop-pools")["desktop_pools"] for _ in range(12)]
    assert len({tuple(pool["id"] for pool in each) for each in lists}) > 1
    assert len(disk_orders([asked.shown(asked.pool("design-studio")) for _ in range(12)])) == 6
    path = f"/desktop-pools/{asked.pool('design-studio')['id']}/desktops"
    first = [asked.read(path)["pool_desktops"][0] for _ in range(12)]
    assert len(disk_orders(first)) > 1


def test_pages_of_a_long_list_fit_together() -> None:
    asked = Asked(sandbox.make_world(pools=25, disks=2, desktops=0))
    pages = [asked.read("/desktop-pools", limit=10, offset=offset) for offset in (0, 10, 20, 30)]
    assert [len(page["desktop_pools"]) for page in pages] == [10, 10, 5, 0]
    assert {page["total_count"] for page in pages} == {25}
    assert len({pool["id"] for page in pages for pool in page["desktop_pools"]}) == 25


def test_the_name_filter_is_fuzzy_and_counted() -> None:
    found = Asked().read("/desktop-pools", name="an")
    assert {pool["name"] for pool in found["desktop_pools"]} == {"finance-analysts"}
    assert found["total_count"] == 1


def test_desktops_come_ten_a_page_unless_asked_otherwise() -> None:
    asked = Asked()
    path = f"/desktop-pools/{asked.pool('call-centre')['id']}/desktops"
    assert len(asked.read(path)["pool_desktops"]) == 10
    found = asked.read(path, limit=100)
    assert len(found["pool_desktops"]) == found["total_count"] == 25
    assert code(asked.get(path, limit=101)) == (400, "WKS.0001")
    assert code(asked.get(path, limit=0)) == (400, "WKS.0001")


def test_a_copy_is_linked_to_its_disk_by_the_pool_disk_id_alone() -> None:
    asked = Asked()
    pool = asked.pool("contractors")
    copies = [
        copy
        for desktop in asked.read(f"/desktop-pools/{pool['id']}/desktops")["pool_desktops"]
        for copy in desktop["data_volumes"]
    ]
    disks = {disk["id"] for disk in pool["disks"]}
    assert {copy["desktop_pool_disk_id"] for copy in copies} == disks
    assert len({copy["volume_id"] for copy in copies}) == len(copies) == 10
    assert not disks & {each for copy in copies for each in (copy["id"], copy["volume_id"])}


def test_desktops_are_filtered_by_user_and_session_is_shown() -> None:
    asked = Asked()
    path = f"/desktop-pools/{asked.pool('contractors')['id']}/desktops"
    bound = asked.read(path, user_attached="true")["pool_desktops"]
    assert (len(bound), len(asked.read(path, user_attached="false")["pool_desktops"])) == (4, 1)
    assert sum(desktop["login_status"] == "CONNECTED" for desktop in bound) == 1
    assert code(asked.get(path, user_attached="yes")) == (400, "WKS.0001")


def test_an_unknown_pool_is_a_bad_request_and_an_unknown_job_is_not_found() -> None:
    asked = Asked()
    for tail in ("", "/desktops", "/inconsistent-statics"):
        assert code(asked.get(f"/desktop-pools/no-such-pool{tail}")) == (400, "WKS.0001")
    assert asked.get("/workspace-jobs/no-such-job").status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        *({"limit": "1001"}, {"limit": "-1"}, {"limit": "x"}, {"offset": "20001"}, {"sort": ""}),
        *({"in_maintenance_mode": "null"}, {"type": "DEDICATED"}, {"enterprise_project_id": "a b"}),
        {"name": "n" * 256},
    ],
)
def test_a_parameter_out_of_bounds_or_unknown_is_refused(query: dict[str, str]) -> None:
    assert code(Asked().get("/desktop-pools", **query)) == (400, "WKS.0001")


def test_paths_and_methods_that_are_not_served_are_told_apart() -> None:
    asked = Asked()
    # The vendor's own examples spell this path wrongly.
    wrong = asked.ask("POST", f"/v2/{sandbox.PROJECT_ID}/desktops-pools/p/volumes/batch-delete", json={})
    assert code(wrong) == (404, "APIGW.0101")
    assert asked.ask("DELETE", f"/v2/{sandbox.PROJECT_ID}/desktop-pools").status_code == 405
    assert asked.get("/desktop-pools/").status_code in (400, 404)


def test_every_answer_names_the_world_and_has_an_id_of_its_own() -> None:
    asked = Asked()
    answers = [
        asked.get("/desktop-pools"),
        asked.get("/desktop-pools"),
        asked.get("/desktop-pools/none"),
        asked.get("/nothing"),
        asked.ask("PATCH", "/v3/auth/tokens"),
        asked.ask("GET", "/v3/auth/tokens"),
        asked.ask("POST", "/v3/auth/tokens", content=b"{"),
    ]
    assert {answer.headers["X-Reconciler-Sandbox"] for answer in answers} == {"default"}
    assert len({answer.headers["X-Request-Id"] for answer in answers}) == len(answers)


def test_disks_may_lack_an_id_and_an_empty_pool_its_list() -> None:
    asked = Asked()
    pool = asked.pool("call-centre")
    pool["disks"][0]["id"] = ""
    assert asked.shown(pool)["data_volumes"] == [{"type": "SAS", "size": 20}]
    pool["disks"] = []
    assert asked.shown(pool)["data_volumes"] == []
    pool["behaviour"]["empty"] = "absent"
    assert "data_volumes" not in asked.shown(pool)


def test_two_pools_may_share_a_name() -> None:
    asked = Asked()
    asked.pool("design-studio")["name"] = "call-centre"
    assert asked.read("/desktop-pools", name="call-centre")["total_count"] == 2


def test_beyond_the_budget_a_user_is_throttled_for_that_operation_only() -> None:
    asked = Asked(budget=2)
    answers = [asked.get("/desktop-pools") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["error_code"] == "APIGW.0308"
    assert answers[2].json()["request_id"] == answers[2].headers["X-Request-Id"]
    assert asked.get("/workspace-sub-jobs").status_code == 200
    asked.now += 60
    assert asked.get("/desktop-pools").status_code == 200


def test_groups_shared_desktops_and_pools_that_change_by_themselves_are_shown() -> None:
    world = sandbox.default_world()
    pools = world["projects"][sandbox.PROJECT_ID]["pools"].values()
    pool = next(each for each in pools if each["name"] == "design-studio")
    pool["type"], pool["enable_autoscale"], pool["in_maintenance_mode"] = "DYNAMIC", True, True
    desktop = pool["desktops"][0]
    desktop["groups"], desktop["user_list"] = ["staff"], ["ann", "bob"]
    desktop["in_maintenance_mode"] = desktop["isolated"] = desktop["is_freeze"] = True
    asked = Asked(world)
    shown = asked.shown(asked.pool("design-studio"))
    assert (shown["type"], shown["enable_autoscale"], shown["in_maintenance_mode"]) == ("DYNAMIC", True, True)
    one = asked.read(f"/desktop-pools/{pool['id']}/desktops")["pool_desktops"][0]
    kinds = [(each["type"], each["user_name"]) for each in one["attach_user_infos"]]
    assert kinds == [("USER", desktop["users"][0]), ("GROUP", "staff")]
    assert (one["user_list"], one["attach_state"]) == (["ann", "bob"], "ATTACHED")
    assert (one["in_maintenance_mode"], one["isolated"], one["is_freeze"]) == (True, True, True)
    listed = [len(asked.read("/desktop-pools", type=kind)["desktop_pools"]) for kind in ("STATIC", "DYNAMIC")]
    assert listed == [5, 1]


@pytest.mark.parametrize(
    ("behaviour", "desktops", "volumes"),
    [
        ({"desktops": "hidden"}, 0, None),
        ({"desktops": "stripped"}, 8, []),
        ({"desktops": "absent"}, 8, None),
        ({"desktops": "negative"}, 8, [-10, -10, -10]),
    ],
    ids=["hidden", "stripped", "absent", "negative"],
)
def test_a_pool_can_be_made_to_lie_about_its_desktops(
    behaviour: Any, desktops: int, volumes: list[int] | None
) -> None:
    world = sandbox.default_world()
    pools = world["projects"][sandbox.PROJECT_ID]["pools"].values()
    pool = next(each for each in pools if each["name"] == "design-studio")
    pool["behaviour"] = behaviour
    asked = Asked(world)
    found = asked.read(f"/desktop-pools/{pool['id']}/desktops")["pool_desktops"]
    assert len(found) == desktops
    for each in found:
        copies = each.get("data_volumes")
        assert (None if copies is None else [copy["size"] for copy in copies]) == volumes
    assert asked.shown(asked.pool("design-studio"))["desktop_count"] == 8


def test_the_count_of_desktops_can_be_wrong_or_left_out() -> None:
    world = sandbox.default_world()
    pools = world["projects"][sandbox.PROJECT_ID]["pools"].values()
    pool = next(each for each in pools if each["name"] == "design-studio")
    asked = Asked(world)
    pool["behaviour"]["count"] = 99
    assert asked.shown(asked.pool("design-studio"))["desktop_count"] == 99
    pool["behaviour"]["count"] = "absent"
    assert "desktop_count" not in asked.shown(asked.pool("design-studio"))
