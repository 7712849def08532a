"""Killed with SIGKILL before and after every durable write, then run again: nothing twice, nothing forgotten."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reconciler import sandbox
from tests.flows.conftest import FINANCE, ROOT, bare, manifest
from tests.flows.serving import Served, serving

WRITES = (
    "open_run",
    "plan approved",
    "open_operation",
    "record_outcome",
    "renewed while the job ran",
    "renewed after the first reading",
    "renewed after the second reading",
    "close_operation",
    "close_run",
)
"""The durable writes of an apply to one pool, in their order; the job is short enough for one poll."""
HOUR = 3600.0


def mortal(served: Served, folder: Path, dies_at: int, when: str, ahead: float = 0.0) -> int:
    """Run one apply; returns its exit code, -9 when it was killed."""
    arguments = [served.url, f"sqlite:///{folder}/journal.db", str(folder / "pools.yaml"), str(dies_at), when]
    return subprocess.run(
        [sys.executable, "-m", "tests.flows.mortal", *arguments, str(ahead)],
        cwd=ROOT,
        env=bare(folder),
        capture_output=True,
        timeout=120,
        check=False,
    ).returncode


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("dies_at", range(len(WRITES)), ids=WRITES)
def test_killed_at_a_durable_write_the_next_run_knows_what_happened(
    tmp_path: Path, dies_at: int, when: str
) -> None:
    with serving(sandbox.default_world(), job_seconds=0.5) as served:
        manifest(tmp_path, [FINANCE])
        surplus = served.pool("finance-analysts")["disks"][2]["id"]
        assert mortal(served, tmp_path, dies_at, when) == -signal.SIGKILL
        time.sleep(1.1)  # the dead run's lease ends
        sent = WRITES.index("record_outcome")
        arrived = dies_at > sent or (dies_at == sent)
        code = mortal(served, tmp_path, -1, "before")
        if not arrived and (dies_at, when) == (WRITES.index("open_operation"), "after"):
            # An intent without a trace: the request might still arrive, so nothing is sent for now.
            assert code == 7
            assert served.posts() == []
            served.offset[0] = HOUR
            code = mortal(served, tmp_path, -1, "before", HOUR)
        assert code == 0
        named = [volume["id"] for entry in served.posts() for volume in entry["body"]["volumes"]]  # type: ignore[index]
        assert named == [surplus]
        assert surplus not in [disk["id"] for disk in served.pool("finance-analysts")["disks"]]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_the_job_runs_ends_within_five_seconds_and_says_what_is_in_flight(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with serving(sandbox.default_world(), job_seconds=60) as served:
        path = manifest(tmp_path, [FINANCE])
        process = subprocess.Popen(
            [sys.executable, "-m", "reconciler", "apply", str(path), "--auto-approve"],
            env=bare(tmp_path) | served.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while not served.posts():
            time.sleep(0.05)
        time.sleep(0.3)
        os.kill(process.pid, number)
        started = time.monotonic()
        out, err = process.communicate(timeout=30)
        assert time.monotonic() - started < 5
        assert process.returncode == code, err
        assert "In flight: finance-analysts: remove of 1 disk" in out
        assert "Traceback" not in err
        assert len(served.posts()) == 1
