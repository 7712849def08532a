"""Live state from real answers over TCP: a job's true end, what is absent, and what a call says."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import pytest

from reconciler.errors import ServiceError
from reconciler.journal.states import Step
from reconciler.model import ABSENT_DISKS, ApplyTo, Disk, Pool
from reconciler.redaction import know
from reconciler.workspace import UNLISTED, Call, JobEnd, JobPart, LiveWorkspace
from tests.api.fake_servers import NOW, Seen, Service, answer, client_at, listening, script

T = TypeVar("T")

DISK = Disk("b", "SAS", 80, iops=300)


def ask(service: Service, question: Callable[[LiveWorkspace], Awaitable[T]]) -> T:
    async def scenario() -> T:
        async with listening(service.handle) as base, client_at(base) as client:
            return await question(LiveWorkspace(client))

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("word", "subs", "end"),
    [
        ("SUCCESS", [], JobEnd.SUCCEEDED),
        ("COMPLETE", ["SUCCESS", "SUCCESS"], JobEnd.SUCCEEDED),
        ("SUCCESS", ["SUCCESS", "FAILED"], JobEnd.PARTIAL),
        ("SUCCESS", ["FAIL", "FAILED"], JobEnd.FAILED),
        ("SUCCESS", ["SUCCESS", "RUNNING"], JobEnd.RUNNING),
        ("SUCCESS", ["SUCCESS", "PAUSED"], JobEnd.RUNNING),
        ("FAIL", [], JobEnd.FAILED),
        ("FAILED", ["SUCCESS", "FAILED"], JobEnd.PARTIAL),
        ("RUNNING", ["SUCCESS"], JobEnd.RUNNING),
        ("WAITING", [], JobEnd.RUNNING),
        ("INIT", [], JobEnd.RUNNING),
        ("PERHAPS", ["SUCCESS"], JobEnd.RUNNING),
    ],
)
def test_a_job_succeeded_only_when_it_and_every_part_of_it_did(
    word: str, subs: list[str], end: JobEnd
) -> None:
    parts = [{"id": f"s{number}", "status": each} for number, each in enumerate(subs)]
    service = script(answer(200, {"id": "j", "status": word, "sub_jobs": parts}))
    job = ask(service, lambda workspace: workspace.job("j"))
    assert job
    assert job.end is end
    assert bool(job.reason) == (end in (JobEnd.FAILED, JobEnd.PARTIAL))


@pytest.mark.parametrize(
    ("step", "to", "verb", "volume", "handle_type"),
    [
        (
            Step.REMOVE,
            ApplyTo.ALL,
            "batch-delete",
            {"id": "b", "type": "SAS", "size": 80},
            "FOR_EXPAND_AND_ALL",
        ),
        (
            Step.REMOVE,
            ApplyTo.IDLE,
            "batch-delete",
            {"id": "b", "type": "SAS", "size": 80},
            "FOR_EXPAND_AND_IDLE",
        ),
        (Step.REMOVE, None, "batch-delete", {"id": "b", "type": "SAS", "size": 80}, None),
        (
            Step.EXPAND,
            ApplyTo.NEW,
            "batch-expand",
            {"id": "b", "type": "SAS", "size": 80},
            "ONLY_FOR_EXPAND",
        ),
        (Step.ADD, None, "batch-add", {"type": "SAS", "size": 80, "iops": 300}, None),
    ],
)
def test_a_call_says_exactly_what_is_to_be_done(
    step: Step, to: ApplyTo | None, verb: str, volume: dict[str, Any], handle_type: str | None
) -> None:
    service = script(answer(200, {"job_id": "j"}))
    ask(service, lambda workspace: workspace.send(Call(step, "pool", (DISK,), to), NOW))
    [seen] = service.seen
    assert seen.target.endswith(f"/desktop-pools/pool/volumes/{verb}")
    body = {"volumes": [volume]} | ({"handle_type": handle_type} if handle_type else {})
    assert json.loads(seen.body) == body


def test_a_retry_names_the_job_in_its_address_and_nothing_but_the_word_in_its_body() -> None:
    service = script(answer(200, {"job_id": "j2"}))
    outcome = ask(service, lambda workspace: workspace.send(Call(Step.RETRY, "pool", (), None, "j1"), NOW))
    [seen] = service.seen
    assert seen.target.endswith("/workspace-jobs/j1/actions")
    assert (json.loads(seen.body), outcome.job_id) == ({"op_type": "retry"}, "j2")


@pytest.mark.parametrize(
    ("total", "end"), [(2, JobEnd.SUCCEEDED), (3, JobEnd.RUNNING), (None, JobEnd.SUCCEEDED)]
)
def test_a_list_of_sub_jobs_that_is_shorter_than_its_total_has_not_ended(
    total: int | None, end: JobEnd
) -> None:
    parts = [{"id": f"s{number}", "status": "SUCCESS"} for number in range(2)]
    for word in ("SUCCESS", "FAIL"):
        body = {"id": "j", "status": word, "sub_jobs": parts, "sub_jobs_total": total}
        job = ask(script(answer(200, body)), lambda workspace: workspace.job("j"))
        assert job
        assert job.end is (end if word == "SUCCESS" or end is JobEnd.RUNNING else JobEnd.PARTIAL)


def test_sub_jobs_name_their_desktop_as_either_revision_does_and_are_done_only_when_they_say_so() -> None:
    parts = [
        {"id": "1", "status": "SUCCESS", "entities": {"desktop_id": "d1", "desktop_name": "one"}},
        {"id": "2", "status": "FAILED", "entities": {"desktop_id": "d2"}, "desktop_name": "two"},
        {"id": "3", "status": "ODD"},
    ]
    job = ask(
        script(answer(200, {"id": "j", "status": "FAIL", "sub_jobs": parts})),
        lambda workspace: workspace.job("j"),
    )
    assert job
    assert job.parts == (JobPart("d1", "one", True), JobPart("d2", "two", False), JobPart("", "", False))


@pytest.mark.parametrize("job_id", ["", ".", "..", "a/b", "a b", "a?b", "x" * 256])
def test_a_job_that_cannot_be_asked_for_is_unknown_and_not_asked_for(job_id: str) -> None:
    service = script(answer(200, {"id": "j", "status": "SUCCESS"}))
    assert ask(service, lambda workspace: workspace.job(job_id)) is None
    assert service.seen == []


def test_absent_disks_are_a_doubt_of_the_list_that_the_detail_call_settles() -> None:
    row = {"id": "pool", "name": "pool"}
    listed = script(answer(200, {"total_count": 1, "desktop_pools": [row]}))
    [pool] = ask(listed, lambda workspace: workspace.pools())
    assert pool.doubts == (ABSENT_DISKS,)
    detail = ask(script(answer(200, row)), lambda workspace: workspace.pool("pool"))
    assert (detail.pool.disks, detail.pool.doubts) == ((), ())


def test_everybody_bound_to_a_desktop_is_counted_once() -> None:
    row = {
        "desktop_id": "d",
        "user_name": "ann",
        "attach_user_infos": [{"user_name": "bob"}, {"user_name": "ann"}],
        "login_status": "CONNECTED",
    }
    service = script(answer(200, {"total_count": 1, "pool_desktops": [row]}))
    [desktop] = ask(service, lambda workspace: workspace.desktops("pool"))
    assert (desktop.users, desktop.live_session) == (("ann", "bob"), True)


def test_groups_are_told_from_people_and_what_sets_a_desktop_apart_is_read() -> None:
    row = {
        "desktop_id": "d",
        "user_name": "staff",
        "attach_user_infos": [
            {"user_name": "staff", "type": "GROUP"},
            {"user_name": "ann", "type": "USER"},
            {"user_name": "bob"},
        ],
        "user_list": ["eve", "ann"],
        "in_maintenance_mode": True,
        "isolated": True,
        "is_freeze": True,
    }
    plain = {"desktop_id": "e", "data_volumes": []}
    service = script(answer(200, {"total_count": 2, "pool_desktops": [row, plain]}))
    desktop, other = ask(service, lambda workspace: workspace.desktops("pool"))
    assert (desktop.users, desktop.groups, desktop.user_list) == (("ann", "bob"), ("staff",), ("ann", "eve"))
    assert (desktop.in_maintenance_mode, desktop.isolated, desktop.frozen) == (True, True, True)
    assert (desktop.copies_known, other.copies_known) == (False, True)
    assert (other.in_maintenance_mode, other.isolated, other.frozen) == (None, None, None)
    assert (other.users, other.groups, other.user_list) == ((), (), ())


def test_what_makes_a_pool_change_by_itself_is_read() -> None:
    told = {"type": "DYNAMIC", "enable_autoscale": True, "in_maintenance_mode": True, "desktop_count": 3}
    rows = [{"id": "p", "data_volumes": []} | told, {"id": "q", "data_volumes": []}]
    service = script(answer(200, {"total_count": 2, "desktop_pools": rows}))
    pool, silent = ask(service, lambda workspace: workspace.pools())
    assert (pool.type, pool.autoscale, pool.in_maintenance_mode, pool.desktop_count) == (
        "DYNAMIC",
        True,
        True,
        3,
    )
    assert (silent.type, silent.autoscale, silent.in_maintenance_mode, silent.desktop_count) == (
        "",
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("counts", "asked"),
    [
        ({"disk_num": 0, "disk_size": 0}, []),
        ({"disk_num": 1, "disk_size": 0}, ["DISK_NUM"]),
        ({"disk_num": 0}, ["DISK_SIZE"]),
        ({}, ["DISK_NUM", "DISK_SIZE"]),
    ],
    ids=["none", "one kind", "a count left out", "both left out"],
)
def test_a_count_that_the_service_leaves_out_is_no_zero(counts: dict[str, int], asked: list[str]) -> None:
    desktop = {"desktop_id": "d", "computer_name": "d", "data_volumes": []}
    page = answer(200, {"total_count": 1, "pool_desktops": [desktop]})
    service = script(answer(200, counts), page)
    found = ask(service, lambda workspace: workspace.differing("p"))
    assert [each.name for each in found.desktops] == (["d"] if asked else [])
    assert (found.by_number, found.by_size) == (int("DISK_NUM" in asked), int("DISK_SIZE" in asked))
    kinds = [
        kind for request in service.seen[1:] for kind in ("DISK_NUM", "DISK_SIZE") if kind in request.target
    ]
    assert kinds == asked


def remembers(**statuses: int) -> Service:
    """A service with so many sub-jobs of one pool by their status, each of a job of its own."""
    jobs = [
        {"id": f"{word}-{number}", "job_id": f"job-{word}-{number}", "status": word}
        for word, times in statuses.items()
        for number in range(times)
    ]

    def reply(request: Seen) -> bytes:
        query = parse_qs(urlsplit(request.target).query)
        assert (query["desktop_pool_id"], query["job_type"]) == (["p"], ["deleteDesktopPoolVolumes"])
        asked = query.get("status", [])
        known = {"WAITING", "RUNNING", "SUCCESS", "FAILED"}
        found = [each for each in jobs if not asked or each["status"] in asked]
        assert set(asked) <= known
        offset, limit = int(query["offset"][0]), int(query["limit"][0])
        return answer(200, {"total_count": len(found), "jobs": found[offset : offset + limit]})

    return Service(reply)


def test_all_jobs_of_a_pool_are_listed_where_they_can_be() -> None:
    service = remembers(SUCCESS=1_500, RUNNING=1)
    found = ask(service, lambda workspace: workspace.pool_jobs("p", Step.REMOVE))
    assert len(found) == 1_501
    assert UNLISTED not in found


def test_of_more_jobs_than_are_listed_the_unfinished_ones_are_known_and_the_rest_is_said_to_be_unknown() -> (
    None
):
    service = remembers(SUCCESS=11_001, FAILED=3, WAITING=1, RUNNING=2)
    found = ask(service, lambda workspace: workspace.pool_jobs("p", Step.REMOVE))
    assert found == {"job-WAITING-0", "job-RUNNING-0", "job-RUNNING-1", UNLISTED}


@pytest.mark.parametrize("statuses", [{"SUCCESS": 11_001, "PAUSED": 1}, {"RUNNING": 11_001}])
def test_where_an_unfinished_job_could_be_missed_there_is_no_list_at_all(statuses: dict[str, int]) -> None:
    with pytest.raises(ServiceError):
        ask(remembers(**statuses), lambda workspace: workspace.pool_jobs("p", Step.REMOVE))


def _one_pool(disk: dict[str, Any]) -> Service:
    disks = [{"id": "a", "type": "SSD", "size": 10}, disk]
    pool = {"id": "p", "name": "finance", "status": "STEADY", "data_volumes": disks}
    return script(answer(200, {"total_count": 1, "desktop_pools": [pool]}))


@pytest.mark.parametrize(
    ("disk", "shown"),
    [
        ({"id": "swordfish-4711", "type": "SAS", "size": 10}, Disk("***", "SAS", 10)),
        ({"id": "b", "type": "x-swordfish-4711", "size": 10}, Disk("b", "x-***", 10)),
    ],
)
def test_a_disk_that_is_called_like_a_secret_makes_its_pool_doubtful(
    disk: dict[str, Any], shown: Disk
) -> None:
    know("swordfish-4711")
    [pool] = ask(_one_pool(disk), lambda workspace: workspace.pools())
    assert pool.disks == (Disk("a", "SSD", 10), shown)
    [doubt] = pool.doubts
    assert "counts as a secret" in doubt
    assert "swordfish" not in doubt


def test_a_plain_pool_is_made_safe_with_one_look_and_no_star_of_its_own_is_a_secret() -> None:
    know("swordfish-4711")
    looks = 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal looks
        looks += event == "call" and frame.f_code.co_name == "redact"

    async def pools(workspace: LiveWorkspace) -> tuple[Pool, ...]:
        sys.setprofile(count)
        try:
            return await workspace.pools()
        finally:
            sys.setprofile(None)

    [pool] = ask(_one_pool({"id": "***", "type": "SAS", "size": 10}), pools)
    assert (pool.name, pool.status, pool.doubts) == ("finance", "STEADY", ())
    assert looks == 2  # one at the pool, one at the header in which a sandbox says its name
