"""Messages to the people of a pool: one text, a job, and nothing else in the world that changes."""

from __future__ import annotations

import pytest

from reconciler import sandbox
from tests.sandbox.asking import JOB_SECONDS, Asked, code

TEXT = {"notifications": "A disk goes on Thursday."}


def test_a_message_is_a_job_with_a_part_for_each_desktop_and_leaves_the_pool_as_it_is() -> None:
    asked = Asked()
    pool = asked.pool("finance-analysts")
    path = f"/v2/{sandbox.PROJECT_ID}/desktop-pools/{pool['id']}/notifications"
    before = asked.shown(pool)
    answer = asked.ask("POST", path, json=TEXT)
    assert answer.status_code == 200
    assert set(answer.json()) == {"job_id"}
    job = answer.json()["job_id"]
    assert asked.read(f"/workspace-jobs/{job}")["status"] == "RUNNING"
    assert asked.shown(pool)["status"] == before["status"] == "STEADY"
    asked.now += JOB_SECONDS
    ended = asked.read(f"/workspace-jobs/{job}")
    assert (ended["status"], ended["sub_jobs_total"]) == ("SUCCESS", len(pool["desktops"]))
    assert asked.world["record"][-1]["body"] == TEXT
    listed = asked.read("/workspace-sub-jobs", job_type="deleteDesktopPoolVolumes")
    assert listed["total_count"] == 0


@pytest.mark.parametrize(
    "body",
    [{}, {"notifications": ""}, {"notifications": " "}, {"notifications": 5}, TEXT | {"desktop_ids": []}, []],
)
def test_a_message_without_a_text_or_with_more_than_one_is_refused(body: object) -> None:
    asked = Asked()
    path = f"/v2/{sandbox.PROJECT_ID}/desktop-pools/{asked.pool('finance-analysts')['id']}/notifications"
    assert code(asked.ask("POST", path, json=body)) == (400, "WKS.0001")
    assert asked.world["jobs"] == {}


def test_a_message_to_no_pool_is_refused() -> None:
    path = f"/v2/{sandbox.PROJECT_ID}/desktop-pools/none-such/notifications"
    assert code(Asked().ask("POST", path, json=TEXT)) == (400, "WKS.0001")
