"""The file of a world: several processes use it, a kill leaves it whole, and its faults are reported."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reconciler import sandbox
from reconciler.sandbox.store import Store
from tests.sandbox.asking import START, Asked
from tests.sandbox.test_changes import STEADY, items, sizes


def kept(path: Path) -> Asked:
    """A service over a file, as another process would open it."""
    asked = Asked()
    asked.store = Store.open(path)
    asked.app = sandbox.create_app(asked.store, clock=lambda: asked.now, job_seconds=10.0)
    return asked


def test_reading_writes_nothing(tmp_path: Path) -> None:
    asked = kept(tmp_path / "deep" / "state.json")
    assert asked.read("/desktop-pools")["total_count"] == 6
    assert list(tmp_path.iterdir()) == []


def test_a_change_is_kept_privately_and_goes_on_in_another_process(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.json"
    first = kept(path)
    pool = first.pool("finance-analysts")
    job = first.job(pool, "batch-delete", items(pool, 2))
    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}
    second = kept(path)
    assert second.read(f"/workspace-jobs/{job}")["status"] == "RUNNING"
    second.now += STEADY
    assert sizes(second.shown(pool)) == [50, 100]
    found: Any = sandbox.state(path, second.now)
    assert [entry["answer"] for entry in found["record"]] == [{"job_id": job}]
    assert found["jobs"][0]["ending"] == "success"
    finance = next(each for each in found["projects"][0]["pools"] if each["name"] == "finance-analysts")
    assert (len(finance["disks"]), finance["copies"], finance["users"]) == (2, 24, 11)


def test_a_service_sees_what_another_process_changed(tmp_path: Path) -> None:
    first, second = kept(tmp_path / "state.json"), kept(tmp_path / "state.json")
    pool = first.pool("finance-analysts")
    assert second.shown(pool)["status"] == "STEADY"
    first.job(pool, "batch-delete", items(pool, 2))
    assert second.shown(pool)["status"] == "TEMPORARY"
    assert second.post(pool, "batch-delete", items(pool, 1)).status_code == 409


def test_reset_brings_the_first_day_back(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    asked = kept(path)
    pool = asked.pool("finance-analysts")
    asked.job(pool, "batch-delete", items(pool, 2))
    sandbox.reset(path)
    assert json.loads(path.read_text()) == sandbox.default_world()
    asked.now += STEADY
    assert sizes(asked.shown(pool)) == [50, 100, 200]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 2}', '{"format": 1}', "[" * 100_000])
def test_a_damaged_file_is_reported_and_can_be_reset(tmp_path: Path, text: str) -> None:
    path = tmp_path / "state.json"
    running = kept(path)
    path.write_text(text)
    with pytest.raises(sandbox.SandboxError, match=r"state\.json .*reset the sandbox"):
        Store.open(path)
    answer = running.get("/desktop-pools")
    assert (answer.status_code, "reset the sandbox" in answer.text) == (500, True)
    sandbox.reset(path)
    assert sandbox.state(path, START)["world"] == "default"


def test_a_place_that_cannot_be_used_is_reported(tmp_path: Path) -> None:
    with pytest.raises(sandbox.SandboxError, match="cannot read the sandbox state"):
        sandbox.state(tmp_path, START)
    (tmp_path / "file").write_text("")
    with pytest.raises(sandbox.SandboxError, match="cannot lock the sandbox state"):
        sandbox.reset(tmp_path / "file" / "state.json")


def test_a_change_that_breaks_off_is_forgotten(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "state.json")

    def break_off() -> None:
        with store.changing(START) as world:
            world["projects"].clear()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    with store.reading(START) as world:
        assert world == sandbox.default_world()


COUNT = """
import sys
from reconciler.sandbox.store import Store
path, start = sys.argv[1:]
for _ in range(25):
    with Store.open(path).changing(float(start)) as world:
        world["serial"] += 1
"""
"""A program, not a function: a process for one would import this file and pytest, which takes longer than all else."""


def test_no_change_of_several_processes_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    command = [sys.executable, "-c", COUNT, str(path), str(START)]
    workers = [subprocess.Popen(command) for _ in range(3)]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    with Store.open(path).reading(START) as world:
        assert world["serial"] == 75
