"""A signal ends a command in order, and at the latest after a fixed time, whatever blocks."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from reconciler.apply.stop import Stop
from reconciler.cli.signals import LONGEST_STOP, run_async
from reconciler.cli.stdio import TolerantStream, Writer, leave_by, written
from reconciler.errors import Interrupted, Terminated
from tests.flows.conftest import FINANCE, Run, bare, manifest
from tests.flows.serving import Served

FAR = 60.0
"""Seconds for what takes none; only a failure gets there."""


@pytest.mark.parametrize(
    ("number", "kind"),
    [(signal.SIGINT, Interrupted), (signal.SIGTERM, Terminated), (signal.SIGHUP, Terminated)],
)
def test_a_signal_asks_once_to_stop(number: signal.Signals, kind: type[Exception]) -> None:
    cancelled = 0

    async def work(stop: Stop) -> None:
        nonlocal cancelled
        os.kill(os.getpid(), number)
        try:
            await asyncio.sleep(FAR)
        except asyncio.CancelledError:
            cancelled += 1
            assert (stop.requested, stop.terminated) == (True, number is not signal.SIGINT)
            os.kill(os.getpid(), number)
            await asyncio.sleep(0.05)
            raise

    with pytest.raises(kind):
        run_async(work, end=lambda _code: pytest.fail("given up"))
    assert cancelled == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_blocks_the_event_loop_does_not_hold_up_the_end(number: signal.Signals, code: int) -> None:
    ended: list[int] = []
    let_go = threading.Event()

    def end(with_code: int) -> None:
        ended.append(with_code)
        let_go.set()

    async def work(_stop: Stop) -> bool:
        os.kill(os.getpid(), number)
        return let_go.wait(FAR)  # as a journal that another process holds: nothing else runs meanwhile

    assert run_async(work, longest_stop=0.01, end=end) is True
    assert ended == [code]


def test_a_stop_that_never_ends_is_ended() -> None:
    ended: list[int] = []
    let_go = threading.Event()

    def end(code: int) -> None:
        ended.append(code)
        let_go.set()

    async def work(_stop: Stop) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.sleep(FAR)
        except asyncio.CancelledError:
            await asyncio.to_thread(let_go.wait, FAR)

    run_async(work, longest_stop=0.01, end=end)
    assert ended == [143]


def test_a_command_that_stops_in_time_is_not_ended_by_force() -> None:
    ended: list[int] = []

    async def work(_stop: Stop) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.sleep(FAR)
        except asyncio.CancelledError:
            return 7
        return 0

    assert run_async(work, longest_stop=FAR, end=ended.append) == 7
    assert ended == []


class Unread(io.StringIO):
    """A stream whose reader never reads."""

    def __init__(self) -> None:
        super().__init__()
        self.read_on = threading.Event()

    def write(self, text: str) -> int:
        self.read_on.wait(FAR)
        return len(text)


def test_output_that_nobody_reads_is_given_up_after_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Unread()
    monkeypatch.setattr(sys, "stdout", TolerantStream(stream, Writer()))
    sys.stdout.write("result")
    leave_by(None)
    assert not written(0.01)
    leave_by(time.monotonic())
    assert written(FAR)
    leave_by(None)
    assert not written(0.01)
    stream.read_on.set()
    assert written(FAR)


def test_the_longest_stop_is_less_than_five_seconds() -> None:
    assert LONGEST_STOP + 0.2 < 5


def test_handlers_and_the_wakeup_are_as_before_afterwards() -> None:
    before = signal.set_wakeup_fd(-1)

    async def work(_stop: Stop) -> None:
        """End at once."""

    run_async(work)
    assert signal.set_wakeup_fd(before) == -1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def opened(process: subprocess.Popen[bytes], file: Path) -> bool:
    """Whether the process has the file open."""
    folder = Path(f"/proc/{process.pid}/fd")
    for each in folder.iterdir():
        with suppress(OSError):  # closed meanwhile
            if each.readlink() == file:
                return True
    return False


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks Linux which files a process has open")
def test_a_journal_that_another_process_holds_does_not_hold_up_the_end(
    run: Run, served: Served, tmp_path: Path
) -> None:
    path, journal = manifest(tmp_path, [FINANCE]), tmp_path / "state" / "journal.db"
    assert run("drift", str(path), env=served.env).code == 2  # makes the journal
    with ExitStack() as ends:
        holder = ends.enter_context(closing(sqlite3.connect(journal, isolation_level=None)))
        holder.execute("BEGIN EXCLUSIVE")
        url = f"sqlite:///{journal}?timeout=100000"
        processes = dict[signal.Signals, subprocess.Popen[bytes]]()
        for number in (signal.SIGINT, signal.SIGTERM):  # at once: each takes the seconds of a stop
            processes[number] = process = subprocess.Popen(
                [sys.executable, "-m", "reconciler", "apply", str(path), "--auto-approve", "--journal", url],
                env=bare(tmp_path) | served.env,
                stderr=subprocess.DEVNULL,
            )
            ends.callback(process.wait)
            ends.callback(process.kill)
        for number, process in processes.items():
            until = time.monotonic() + 2 * FAR
            while not opened(process, journal) and time.monotonic() < until:
                time.sleep(0.02)
            process.send_signal(number)
        assert {number: each.wait(FAR) for number, each in processes.items()} == {
            signal.SIGINT: 130,
            signal.SIGTERM: 143,
        }
    assert served.posts() == []
