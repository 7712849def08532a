"""Jobs: they take time, progress desktop by desktop, and may end badly in more than one way."""

from __future__ import annotations

from typing import Any

from tests.sandbox.asking import JOB_SECONDS, Asked
from tests.sandbox.test_changes import STEADY, copy_counts, items, sizes


def words(asked: Asked, job: str) -> list[str]:
    return [sub["status"] for sub in asked.read(f"/workspace-jobs/{job}")["sub_jobs"]]


def test_sub_jobs_appear_late_and_finish_one_after_the_other() -> None:
    asked = Asked()
    pool = asked.pool("design-studio")
    job = asked.job(pool, "batch-delete", items(pool, 2))
    assert words(asked, job) == []
    asked.now += JOB_SECONDS / 2
    halfway = words(asked, job)
    assert halfway == sorted(halfway, key=["SUCCESS", "RUNNING", "WAITING"].index)
    assert set(halfway) == {"SUCCESS", "RUNNING", "WAITING"}
    asked.now += JOB_SECONDS / 2
    assert words(asked, job) == ["SUCCESS"] * 8


def test_a_job_shows_its_times_and_the_desktops_it_reached() -> None:
    asked = Asked()
    pool = asked.pool("design-studio")
    job = asked.job(pool, "batch-delete", items(pool, 2))
    running = asked.read(f"/workspace-jobs/{job}")
    assert running["job_type"] == "deleteDesktopPoolVolumes"
    assert "end_time" not in running
    asked.now += JOB_SECONDS
    found = asked.read(f"/workspace-jobs/{job}")
    assert (found["begin_time"], found["end_time"]) == ("2027-01-15 08:00:00", "2027-01-15 08:00:10")
    reached = {sub["entities"]["desktop_id"] for sub in found["sub_jobs"]}
    assert reached == {desktop["id"] for desktop in pool["desktops"]}
    assert {sub["job_id"] for sub in found["sub_jobs"]} == {job}


def test_sub_jobs_are_found_by_pool_type_job_and_several_statuses() -> None:
    asked = Asked()
    finance, calls = asked.pool("finance-analysts"), asked.pool("call-centre")
    first = asked.job(finance, "batch-delete", items(finance, 2))
    asked.job(calls, "batch-add", {"volumes": [{"type": "SAS", "size": 10}]})
    asked.now += JOB_SECONDS / 2

    def found(**query: Any) -> int:
        return int(asked.read("/workspace-sub-jobs", **query)["total_count"])

    assert found() == 12 + 25
    assert found(desktop_pool_id=calls["id"]) == 25
    assert found(job_type="deleteDesktopPoolVolumes") == found(job_id=first) == 12
    assert found(status=["WAITING", "RUNNING", "SUCCESS"]) == 37
    assert 0 < found(status=["WAITING"]) < 37
    page = asked.read("/workspace-sub-jobs", limit=5, offset=35)
    assert (len(page["jobs"]), page["total_count"]) == (2, 37)
    assert asked.get("/workspace-sub-jobs", status="DONE").status_code == 400


def test_a_failed_job_changes_nothing() -> None:
    asked = Asked()
    pool = asked.pool("finance-analysts")
    pool["behaviour"]["delete"] = "fail"
    job = asked.job(pool, "batch-delete", items(pool, 2))
    asked.now += STEADY
    found = asked.read(f"/workspace-jobs/{job}")
    assert (found["status"], set(words(asked, job))) == ("FAIL", {"FAILED"})
    assert found["fail_reason"]
    assert sizes(asked.shown(pool)) == [50, 100, 200]
    assert set(copy_counts(asked, pool)) == {3}


def test_a_job_that_ended_well_can_hide_a_failed_sub_job() -> None:
    asked = Asked()
    pool = asked.pool("finance-analysts")
    pool["behaviour"]["delete"] = "partial"
    job = asked.job(pool, "batch-delete", items(pool, 2))
    asked.now += STEADY
    assert asked.read(f"/workspace-jobs/{job}")["status"] == "SUCCESS"
    assert sorted(words(asked, job)) == ["FAILED"] + ["SUCCESS"] * 11
    assert sizes(asked.shown(pool)) == [50, 100]
    assert sorted(copy_counts(asked, pool)) == [2] * 11 + [3]


def test_a_pool_may_have_its_own_pace_and_its_own_word_for_success() -> None:
    asked = Asked()
    pool = asked.pool("finance-analysts")
    pool["behaviour"] = {"ended": "COMPLETE", "seconds": 1.0}
    job = asked.job(pool, "batch-delete", items(pool, 2))
    asked.now += 1.0
    assert asked.read(f"/workspace-jobs/{job}")["status"] == "COMPLETE"
