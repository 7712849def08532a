"""Writes: what is accepted, what it does and when, and what is refused with which code."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler import sandbox
from tests.sandbox.asking import JOB_SECONDS, Asked, code

SOON, AFTER, STEADY = JOB_SECONDS * 0.5, JOB_SECONDS, JOB_SECONDS + 0.5


def items(pool: Any, *places: int) -> dict[str, Any]:
    return {
        "volumes": [{key: pool["disks"][place][key] for key in ("id", "type", "size")} for place in places]
    }


def sizes(shown: Any) -> list[int]:
    return sorted(disk["size"] for disk in shown["data_volumes"])


def copy_counts(asked: Asked, pool: Any) -> list[int]:
    found = asked.read(f"/desktop-pools/{pool['id']}/desktops", limit=100)
    return [len(desktop["data_volumes"]) for desktop in found["pool_desktops"]]


def test_a_deletion_takes_effect_when_its_job_ends_and_not_before() -> None:
    asked = Asked()
    pool = asked.pool("finance-analysts")
    job = asked.job(pool, "batch-delete", items(pool, 2))
    asked.now += SOON
    assert asked.read(f"/workspace-jobs/{job}")["status"] == "RUNNING"
    assert sizes(asked.shown(pool)) == [50, 100, 200]
    assert asked.shown(pool)["status"] == "TEMPORARY"
    asked.now += AFTER - SOON
    assert asked.read(f"/workspace-jobs/{job}")["status"] == "SUCCESS"
    assert sizes(asked.shown(pool)) == [50, 100]
    assert set(copy_counts(asked, pool)) == {2}
    assert asked.shown(pool)["status"] == "TEMPORARY", "desktops lag behind their job"
    asked.now += STEADY - AFTER
    assert asked.shown(pool)["status"] == "STEADY"


@pytest.mark.parametrize("extra", [(), ("type",), ("type", "size")])
def test_every_documented_shape_of_a_deletion_is_accepted(extra: tuple[str, ...]) -> None:
    asked = Asked()
    pool = asked.pool("finance-analysts")
    disk: Any = pool["disks"][2]
    asked.job(pool, "batch-delete", {"volumes": [{key: disk[key] for key in ("id", *extra)}]})


@pytest.mark.parametrize(
    ("handle_type", "left"),
    [
        ("ONLY_FOR_EXPAND", [3] * 12),
        ("FOR_EXPAND_AND_IDLE", [2] + [3] * 11),
        ("FOR_EXPAND_AND_ALL", [2] * 12),
        (None, [2] * 12),
    ],
)
def test_handle_type_decides_which_desktops_lose_their_copy(handle_type: str | None, left: list[int]) -> None:
    asked = Asked()
    pool = asked.pool("finance-analysts")
    named = {} if handle_type is None else {"handle_type": handle_type}
    job = asked.job(pool, "batch-delete", items(pool, 2) | named)
    asked.now += STEADY
    assert sizes(asked.shown(pool)) == [50, 100], "the template always changes"
    assert sorted(copy_counts(asked, pool)) == left
    assert asked.read(f"/workspace-jobs/{job}")["sub_jobs_total"] == left.count(2)
    differing = left.count(3)
    statics = asked.read(f"/desktop-pools/{pool['id']}/inconsistent-statics")
    assert statics == {"product_id": 0, "image_id": 0, "disk_num": differing, "disk_size": differing}
    for kind in ("DISK_NUM", "DISK_SIZE"):
        found = asked.read(f"/desktop-pools/{pool['id']}/desktops", inconsistent_type=kind)
        assert found["total_count"] == differing
        assert found.get("inconsistent_type") == (kind.lower() if differing else None)


def test_expanding_keeps_the_disk_and_its_copies() -> None:
    asked = Asked()
    pool = asked.pool("call-centre")
    disk = pool["disks"][0]["id"]
    asked.job(pool, "batch-expand", {"volumes": [{"id": disk, "size": 60}]})
    asked.now += STEADY
    assert asked.shown(pool)["data_volumes"] == [{"id": disk, "type": "SAS", "size": 60}]
    assert {copy["size"] for desktop in pool["desktops"] for copy in desktop["copies"]} == {60}


def test_adding_makes_a_new_disk_with_a_copy_on_each_desktop() -> None:
    asked = Asked()
    pool = asked.pool("call-centre")
    asked.job(pool, "batch-add", {"volumes": [{"type": "GPSSD2", "size": 30, "iops": 3000}]})
    asked.now += SOON
    assert len(asked.shown(pool)["data_volumes"]) == 1
    asked.now += STEADY
    added = next(disk for disk in asked.shown(pool)["data_volumes"] if disk["type"] == "GPSSD2")
    assert (added["size"], added["iops"]) == (30, 3000)
    assert set(copy_counts(asked, pool)) == {2}


def test_one_job_at_a_time_per_pool_and_until_its_desktops_are_steady() -> None:
    asked = Asked()
    pool = asked.pool("finance-analysts")
    asked.job(pool, "batch-delete", items(pool, 2))
    for wait in (0.0, SOON, AFTER - SOON):
        asked.now += wait
        assert code(asked.post(pool, "batch-delete", items(pool, 1))) == (409, "WKS.00010032")
    asked.now += STEADY - AFTER
    asked.job(pool, "batch-delete", items(pool, 1))
    other = asked.pool("design-studio")
    asked.job(other, "batch-delete", items(other, 2))


def test_deleting_what_is_gone_is_refused() -> None:
    asked = Asked()
    pool = asked.pool("finance-analysts")
    body = items(pool, 2)
    asked.job(pool, "batch-delete", body)
    asked.now += STEADY
    assert code(asked.post(pool, "batch-delete", body)) == (400, "WKS.0001")


def test_adding_while_disks_are_being_added_has_a_code_of_its_own() -> None:
    asked = Asked()
    pool = asked.pool("call-centre")
    body = {"volumes": [{"type": "SAS", "size": 10}]}
    asked.job(pool, "batch-add", body)
    assert code(asked.post(pool, "batch-add", body)) == (400, "WKS.0407")
    assert code(asked.post(pool, "batch-delete", items(pool, 0))) == (409, "WKS.00010032")


def test_frozen_prepaid_and_switched_off_refuse() -> None:
    asked = Asked()
    frozen, prepaid, shut = (asked.pool(name) for name in ("lab-frozen", "kiosk-lobby", "call-centre"))
    assert code(asked.post(frozen, "batch-delete", items(frozen, 0))) == (409, "WKS.00010032")
    assert code(asked.post(prepaid, "batch-delete", items(prepaid, 0))) == (400, "WKS.0001")
    shut["desktops"][3]["status"] = "SHUTOFF"
    body = {"volumes": [{"type": "SAS", "size": 10}]}
    assert code(asked.post(shut, "batch-add", body)) == (409, "WKS.00010032")


FINE = {"type": "SAS", "size": 10}


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("batch-delete", {}),
        ("batch-delete", []),
        ("batch-delete", {"volumes": []}),
        ("batch-delete", {"volumes": {}}),
        ("batch-delete", {"volumes": [{"type": "SAS", "size": 200}]}),
        ("batch-delete", {"volumes": [{"id": ""}]}),
        ("batch-delete", {"volumes": [{"id": 7}]}),
        ("batch-delete", {"volumes": [{"id": "305d3c76-199f-4407-8d82-2a42d970595e"}]}),
        ("batch-delete", {"volumes": [{"id": "DISK", "size": 50}]}),
        ("batch-delete", {"volumes": [{"id": "DISK", "type": "SSD"}]}),
        ("batch-delete", {"volumes": [{"id": "DISK", "force": True}]}),
        ("batch-delete", {"volumes": [{"id": "DISK"}, {"id": "DISK"}]}),
        ("batch-delete", {"volumes": [{"id": "DISK"}], "handle_type": "ALL"}),
        ("batch-delete", {"volumes": [{"id": "DISK"}], "desktop_ids": ["d"]}),
        ("batch-delete", {"volumes": [{"id": "DISK"}], "dry_run": True}),
        ("batch-delete", {"volumes": [{"id": f"{number}"} for number in range(11)]}),
        ("batch-expand", {"volumes": [{"id": "DISK", "size": 200}]}),
        ("batch-expand", {"volumes": [{"id": "DISK", "size": 100}]}),
        ("batch-expand", {"volumes": [{"id": "DISK", "size": 205}]}),
        ("batch-expand", {"volumes": [{"id": "DISK", "size": 8210}]}),
        ("batch-expand", {"volumes": [{"id": "DISK", "size": "300"}]}),
        ("batch-expand", {"volumes": [{"id": "DISK"}]}),
        ("batch-add", {"volumes": [{"type": "SAS"}]}),
        ("batch-add", {"volumes": [{"type": "FLOPPY", "size": 10}]}),
        ("batch-add", {"volumes": [{"type": "SAS", "size": 0}]}),
        ("batch-add", {"volumes": [FINE | {"iops": 3000}]}),
        ("batch-add", {"volumes": [FINE | {"id": "x"}]}),
        ("batch-add", {"volumes": [FINE | {"resource_spec_code": "x"}]}),
        ("batch-add", {"volumes": [FINE] * 8}),
    ],
)
def test_a_malformed_change_is_refused_and_changes_nothing(verb: str, body: Any) -> None:
    asked = Asked()
    pool = asked.pool("finance-analysts")
    for item in body.get("volumes", []) if isinstance(body, dict) else []:
        if item.get("id") == "DISK":
            item["id"] = pool["disks"][2]["id"]
    assert code(asked.post(pool, verb, body)) == (400, "WKS.0001")
    asked.now += STEADY
    assert sizes(asked.shown(pool)) == [50, 100, 200]
    assert not asked.world["jobs"]


def test_the_disk_of_another_pool_and_the_system_disk_cannot_be_deleted() -> None:
    asked = Asked()
    pool, other = asked.pool("finance-analysts"), asked.pool("call-centre")
    assert code(asked.post(pool, "batch-delete", items(other, 0))) == (400, "WKS.0001")
    root = asked.shown(pool)["root_volume"]["id"]
    assert code(asked.post(pool, "batch-delete", {"volumes": [{"id": root}]})) == (400, "WKS.0001")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b'{"volumes":[],"volumes":[]}', "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"{}", "text/plain"),
        (b"{}", ""),
    ],
)
def test_a_body_that_is_no_json_document_is_refused(content: bytes, kind: str) -> None:
    asked = Asked()
    path = f"/v2/{sandbox.PROJECT_ID}/desktop-pools/{asked.pool('call-centre')['id']}/volumes/batch-delete"
    answer = asked.ask("POST", path, content=content, headers={"Content-Type": kind})
    assert code(answer) == (400, "WKS.0001")


def test_the_record_holds_every_write_with_its_answer_and_no_read() -> None:
    asked = Asked()
    pool = asked.pool("finance-analysts")
    job = asked.job(pool, "batch-delete", items(pool, 2))
    asked.get("/desktop-pools")
    refused = asked.post(pool, "batch-delete", {"volumes": []})
    asked.headers = {}
    asked.post(pool, "batch-delete", items(pool, 1))
    first, second, third = asked.world["record"]
    assert (first["status"], first["answer"], first["user"]) == (200, {"job_id": job}, "sandbox")
    assert (first["body"], first["time"]) == (items(pool, 2), asked.now)
    assert (second["status"], second["request_id"]) == (400, refused.headers["X-Request-Id"])
    assert (third["status"], third["user"]) == (401, "")
