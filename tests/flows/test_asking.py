"""The question on a real terminal: only yes is a yes, and a signal is heard while nobody answers."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from reconciler.clock import SystemClock
from reconciler.journal.records import Approved, Way
from reconciler.journal.store import find_journal
from tests.flows import started
from tests.flows.conftest import FINANCE, bare, manifest
from tests.flows.serving import Served


@dataclass
class Asked:
    """An apply that sits on a terminal."""

    process: subprocess.Popen[bytes]
    terminal: int
    """The other end of its terminal."""
    name: str
    """The path of its own end."""

    def until(self, words: str) -> str:
        """What the terminal showed up to these words."""
        shown = b""
        while words.encode() not in shown:
            shown += os.read(self.terminal, 65536)
        return shown.decode()

    def until_read(self) -> None:
        """Wait until it has read what was typed."""
        own_end = os.open(self.name, os.O_RDWR | os.O_NOCTTY)
        try:
            while int.from_bytes(fcntl.ioctl(own_end, termios.FIONREAD, bytes(4)), sys.byteorder):
                time.sleep(0.01)
        finally:
            os.close(own_end)

    def type(self, keys: str) -> None:
        os.write(self.terminal, keys.encode())


@contextmanager
def asking(
    folder: Path, served: Served, stdout: IO[str] | None = None, *flags: str, named: bool = True
) -> Iterator[Asked]:
    path = str(manifest(folder, [FINANCE]))
    terminal, end = os.openpty()
    process = subprocess.Popen(
        [*started.command(), "apply", *([path] if named else []), *flags],
        env=bare(folder) | served.env | {"TERM": "dumb"} | ({} if named else {"RECONCILER_PATHS": path}),
        stdin=end,
        stdout=stdout or end,
        stderr=end,
    )
    name = os.ttyname(end)
    os.close(end)
    try:
        yield Asked(process, terminal, name)
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


@pytest.mark.parametrize(
    ("keys", "code", "posts"),
    [("yes\n", 0, 1), ("y\n", 3, 0), ("\n", 3, 0), ("YES\n", 3, 0), ("\x04", 3, 0)],
    ids=["yes", "y", "nothing", "another case", "end of input"],
)
def test_only_yes_is_a_yes(served: Served, tmp_path: Path, keys: str, code: int, posts: int) -> None:
    with asking(tmp_path, served) as asked:
        shown = asked.until("Enter a value: ")
        assert "Plan: 0 to add, 0 to change, 1 to destroy." in shown
        asked.type(keys)
        ended = asked.until("Apply complete!" if code == 0 else "not confirmed; nothing was sent")
        assert code == 0 or "\nError: " in ended  # also where the input ended behind the question
        assert asked.process.wait(60) == code
    assert len(served.posts()) == posts
    journal = find_journal(f"sqlite:///{tmp_path}/state/journal.db", SystemClock().now)
    assert journal is not None
    assert [run.approved for run in journal.runs(1)] == [Approved(Way.INTERACTIVE) if posts else None]
    journal.close()


def test_the_question_is_cut_inside_no_word(served: Served, tmp_path: Path) -> None:
    with asking(tmp_path, served) as asked:
        termios.tcsetwinsize(asked.terminal, (24, 40))
        question = asked.until("Enter a value: ").rpartition("Do you")[2]
        assert max(map(len, question.splitlines())) <= 40


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_question_at_once(
    served: Served, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with asking(tmp_path, served) as asked:
        asked.until("Enter a value: ")
        asked.type("ye\x04")  # half a line is no answer, and must not make it deaf
        asked.until("ye")
        asked.until_read()
        asked.process.send_signal(number)
        asked.until("interrupted; nothing was sent by this run")
        assert asked.process.wait(60) == code
    assert served.posts() == []


def test_nobody_is_asked_about_a_plan_that_could_not_be_shown(served: Served, tmp_path: Path) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full, asking(tmp_path, served, full) as asked:
        asked.until("the plan could not be shown: No space left on device; nothing was sent")
        assert asked.process.wait(60) == 3
    assert served.posts() == []


def test_who_wants_json_or_names_no_path_sees_the_plan_before_the_question(
    served: Served, tmp_path: Path
) -> None:
    result = tmp_path / "result.json"
    with (
        result.open("w", encoding="utf-8") as file,
        asking(tmp_path, served, file, "--format", "json", named=False) as asked,
    ):
        assert "Plan: 0 to add, 0 to change, 1 to destroy." in asked.until("Enter a value: ")
        asked.type("no\n")
        asked.until("not confirmed; nothing was sent")
        assert asked.process.wait(60) == 3
    assert served.posts() == []


def test_without_any_standard_input_nobody_is_asked(served: Served, tmp_path: Path) -> None:
    path = manifest(tmp_path, [FINANCE])
    line = f"{sys.executable} -m reconciler apply {path} <&-"
    done = subprocess.run(
        ["bash", "-c", line],
        env=bare(tmp_path) | served.env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 3
    assert "cannot prompt for approval" in done.stderr
