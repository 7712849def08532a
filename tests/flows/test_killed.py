"""Killed with SIGKILL before and after every durable write, then run again: nothing twice, nothing forgotten."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from reconciler import sandbox
from tests.flows import forks, started
from tests.flows.conftest import FINANCE, bare, manifest
from tests.flows.mortal import Apply, run
from tests.flows.serving import Served, serving

WRITES = (
    "open_run",
    "marks looked at",
    "plan approved",
    "open_operation",
    "renewed before the call",
    "record_outcome",
    "renewed while the job ran",
    "renewed while its effect is read",
    "close_operation",
    "marks looked at again",
    "close_run",
)
"""The durable writes of an apply to one pool, in their order; the job has ended before the first poll."""
NO_INTENT = {(name, when) for name in WRITES[:3] for when in ("before", "after")} | {
    ("open_operation", "before")
}
LATER = 90.0
"""Seconds after which the lease of a dead run has ended, and pools have come to rest."""
HOUR = 3600.0


def mortal(served: Served, folder: Path, dies_at: int = -1, when: str = "", ahead: float = 0.0) -> int:
    """Run one apply in a process; returns its exit code, -9 when it was killed.

    ``ahead`` is the time, in seconds from now, for the run and for the service.
    """
    served.offset[0] = ahead
    journal, path = f"sqlite:///{folder}/journal.db", str(folder / "pools.yaml")
    what = Apply(served.url, journal, path, dies_at, when == "before", ahead)
    return forks.ended(forks.start(run, what, folder=folder, env=bare(folder)))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("dies_at", range(len(WRITES)), ids=WRITES)
def test_killed_at_a_durable_write_the_next_run_knows_what_happened(
    tmp_path: Path, dies_at: int, when: str
) -> None:
    with serving(sandbox.default_world(), job_seconds=0.0) as served:
        manifest(tmp_path, [FINANCE])
        surplus = served.pool("finance-analysts")["disks"][2]["id"]
        assert mortal(served, tmp_path, dies_at, when) == -signal.SIGKILL
        sent = WRITES.index("record_outcome")
        arrived = dies_at > sent or (dies_at == sent)
        code = mortal(served, tmp_path, ahead=LATER)
        if not arrived and (WRITES[dies_at], when) not in NO_INTENT:
            # An intent without a trace: the request might still arrive, so nothing is sent for now.
            assert code == 7
            assert served.posts() == []
            code = mortal(served, tmp_path, ahead=HOUR)
        assert code == 0
        named = [volume["id"] for entry in served.posts() for volume in entry["body"]["volumes"]]  # type: ignore[index]
        assert named == [surplus]
        assert surplus not in [disk["id"] for disk in served.pool("finance-analysts")["disks"]]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_the_job_runs_ends_the_run_long_before_it_and_says_what_is_in_flight(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with serving(sandbox.default_world(), job_seconds=600) as served:
        path = manifest(tmp_path, [FINANCE])
        process = subprocess.Popen(
            [*started.command(), "apply", str(path), "--auto-approve"],
            env=bare(tmp_path) | served.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr
        while "accepted" not in (line := process.stderr.readline()):
            assert line, "it ended before its call was accepted"
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=60)  # a tenth of the job, however slow the machine is
        assert process.returncode == code, err
        assert "In flight: finance-analysts: remove of 1 disk" in out
        assert "Traceback" not in err
        assert len(served.posts()) == 1
