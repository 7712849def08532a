"""``sandbox serve`` prints all that is needed to use it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from reconciler import sandbox
from tests.flows.conftest import FINANCE, Run, bare, manifest


def test_the_printed_settings_alone_are_enough(run: Run, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "reconciler",
        "sandbox",
        "serve",
        "--state",
        str(tmp_path / "world.json"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=bare(tmp_path)) as process:
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline().strip() for _ in range(6)]
            env = dict(line.removeprefix("export ").split("=", 1) for line in lines[1:])
            assert env["HUAWEICLOUD_SDK_PROJECT_ID"] == sandbox.PROJECT_ID
            assert env["RECONCILER_IAM_ENDPOINT"] == env["RECONCILER_ENDPOINT"]
            paths = str(manifest(tmp_path, [FINANCE]))
            assert run("plan", paths, env=env).code == 0
            del env["HUAWEICLOUD_SDK_PROJECT_ID"]  # then the printed IAM confirms it
            confirmed = run("plan", paths, env=env)
            assert (confirmed.code, "Warning" in confirmed.err) == (0, False)
        finally:
            process.terminate()
