"""Nobody reads what is printed: the work goes on to its end all the same, and a signal ends the wait."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.clock import SystemClock
from reconciler.journal.states import State
from reconciler.journal.store import find_journal
from tests.flows import started
from tests.flows.conftest import FINANCE, Run, bare, manifest
from tests.flows.serving import Served
from tests.flows.skipping import TIME

CEILING = 120.0
"""Seconds for what takes one; only a run that hangs gets there."""


@contextmanager
def full_pipe() -> Iterator[int]:
    """The writing end of a pipe into which nothing fits any more, and which nobody reads."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 1024)
    except BlockingIOError:
        os.set_blocking(writing, True)
    yield writing
    os.close(writing)
    os.close(reading)


def ended_well(folder: Path) -> bool:
    kept = find_journal(f"sqlite:///{folder}/state/journal.db", SystemClock().now)
    if kept is None:
        return False
    try:
        return [each.state for each in kept.operations(SystemClock().now().replace(year=2020))] == [
            State.DONE
        ]
    finally:
        kept.close()


@pytest.mark.parametrize("stalled", ["stdout", "stderr", "both"])
def test_output_that_nobody_reads_delays_nothing(stalled: str, served: Served, tmp_path: Path) -> None:
    path = manifest(tmp_path, [FINANCE])
    program = [sys.executable, "-m", "reconciler"] if stalled == "both" else started.command()
    with full_pipe() as pipe, started.skipping(TIME) as skipping:
        process = subprocess.Popen(
            [*program, "apply", str(path), "--auto-approve"],
            env=bare(tmp_path) | served.env | skipping,
            stdin=subprocess.DEVNULL,
            stdout=pipe if stalled != "stderr" else subprocess.DEVNULL,
            stderr=pipe if stalled != "stdout" else subprocess.DEVNULL,
        )
        try:
            until = time.monotonic() + CEILING
            while not ended_well(tmp_path) and time.monotonic() < until:
                time.sleep(0.1)
            assert ended_well(tmp_path)
            assert len(served.posts()) == 1
            assert process.poll() is None  # what it has to say is not lost: it waits for a reader
            process.send_signal(signal.SIGTERM)
            assert process.wait(CEILING) in (143, -signal.SIGTERM)
        finally:
            process.kill()
            process.wait()


def test_a_slow_reader_gets_everything(run: Run, served: Served, tmp_path: Path) -> None:
    path = manifest(tmp_path, [FINANCE])
    expected = run("plan", str(path), "--no-color", env=served.env).out
    process = subprocess.Popen(
        [*started.command(), "plan", str(path)],
        env=bare(tmp_path) | served.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    read = ""
    with process:
        assert process.stdout
        while piece := process.stdout.read(64):
            read += piece
    assert (process.returncode, read) == (0, expected)
