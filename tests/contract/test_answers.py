"""What the sandbox answers fits the vendor's contract, in every state of a job, refusals included."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reconciler import sandbox
from reconciler.sandbox.app import OPERATIONS
from tests.contract.conversation import Exchange, conversation, small_world
from tests.contract.published import Operation, faults, operation, operations
from tests.sandbox.asking import Asked

PROJECT = f"/v2/{sandbox.PROJECT_ID}"
POOL_SCHEMA = operation("ListDesktopPools").answers["200"]["properties"]["desktop_pools"]["items"]


def broken(published: Operation, each: Exchange) -> list[str]:
    schema = published.answers.get(str(each.status), published.answers.get("default"))
    assert schema is not None, f"{published.name} has no answer {each.status}"
    return faults(json.loads(each.answer), schema)


@pytest.mark.parametrize("published", operations(), ids=lambda published: published.name)
def test_every_answer_fits_the_contract(published: Operation) -> None:
    given = [each for each in conversation() if published.takes(each.method, each.path)]
    assert 200 in {each.status for each in given}
    assert [fault for each in given for fault in broken(published, each)] == []


def test_the_detail_of_a_pool_is_an_entry_of_the_list() -> None:
    details = [
        each for each in conversation() if each.path.count("/") == 4 and "/desktop-pools/" in each.path
    ]
    assert details
    assert [fault for each in details for fault in faults(json.loads(each.answer), POOL_SCHEMA)] == []


def test_the_conversation_shows_a_job_in_every_state() -> None:
    jobs = [json.loads(each.answer) for each in conversation() if "/workspace-jobs/" in each.path]
    assert {job.get("status") for job in jobs} == {"RUNNING", "SUCCESS", "FAIL", None}
    subs = [sub for job in jobs for sub in job.get("sub_jobs", ())]
    assert {sub["status"] for sub in subs} == {"WAITING", "RUNNING", "SUCCESS", "FAILED"}
    assert {"user_name" in sub["entities"] for sub in subs} == {True, False}


def filled(path: str, pool: str) -> str:
    return PROJECT + path.format(pool_id=pool, job_id="none-such")


def refusals() -> list[tuple[str, str, int, Any]]:
    """Method, path, status and document of refusals of every operation."""
    world = small_world()
    world["accounts"][0]["denied"] = [each.name for each in OPERATIONS]
    pool = next(iter(world["projects"][sandbox.PROJECT_ID]["pools"]))
    anonymous, barred, free = Asked(world, headers={}), Asked(world), Asked(small_world())
    found = []
    for each in OPERATIONS:
        for asked, path in (
            (anonymous, filled(each.path, pool)),
            (barred, filled(each.path, pool)),
            (free, filled(each.path, "none-such")),
        ):
            body = None if each.reads else {"volumes": [{"id": "none-such", "type": "SAS", "size": 10}]}
            answer = asked.ask(each.method, path, json=body, params={"limit": "x"} if each.reads else None)
            found.append((each.method, path, answer.status_code, answer.json()))
    return found


def test_every_refusal_has_the_shape_of_the_contract() -> None:
    checked = []
    for method, path, status, document in refusals():
        for published in operations():
            if published.takes(method, path):
                schema = published.answers.get(str(status), published.answers.get("default"))
                assert schema, f"{published.name} has no answer {status}"
                assert faults(document, schema) == []
                checked.append(status)
    assert {status: checked.count(status) for status in (400, 401, 403)} == {400: 7, 401: 7, 403: 7}
