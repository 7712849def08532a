"""Live state from real answers over TCP: a job's true end, what is absent, and what a call says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from reconciler.journal.records import Step
from reconciler.model import ApplyTo, Disk
from reconciler.workspace import ABSENT_DISKS, Call, JobEnd, LiveWorkspace
from tests.api.fake_servers import NOW, Service, answer, client_at, listening, script

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
        (Step.EXPAND, ApplyTo.NEW, "batch-expand", {"id": "b", "size": 80}, "ONLY_FOR_EXPAND"),
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
