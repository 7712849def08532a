"""Over TCP: on this machine only, as a process of its own that a signal ends."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from reconciler import sandbox
from reconciler.sandbox.serve import serve
from tests.sandbox.asking import TOKEN

PROGRAM = """
import sys
from reconciler.sandbox.serve import serve
from reconciler.sandbox.store import Store
serve(sys.argv[1], 0, Store.open(sys.argv[2]), lambda url: print(url, flush=True))
"""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_served_sandbox_answers_and_ends_by_a_signal(tmp_path: Path, host: str) -> None:
    command = [sys.executable, "-c", PROGRAM, host, str(tmp_path / "state.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        answer = httpx.get(f"{url}/v2/{sandbox.PROJECT_ID}/desktop-pools", headers=TOKEN)
        assert (answer.status_code, answer.json()["total_count"]) == (200, 6)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    assert re.fullmatch("default-[0-9a-f]{8}", answer.headers["X-Reconciler-Sandbox"])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_only_this_machine_is_served(tmp_path: Path, host: str) -> None:
    with pytest.raises(sandbox.SandboxError, match=r"127\.0\.0\.1"):
        serve(host, 0, sandbox.Store.open(tmp_path / "state.json"), print)


def test_a_taken_port_is_reported(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(sandbox.SandboxError, match=f"port {port}"):
            serve("127.0.0.1", port, sandbox.Store.open(tmp_path / "state.json"), print)
