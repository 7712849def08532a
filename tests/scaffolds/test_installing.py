"""What pip does with what ready-made files say, and what the program that it installed knows about itself."""

from __future__ import annotations

import hashlib
import json
import subprocess
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from reconciler import DISTRIBUTION, installation
from reconciler.errors import BadInput
from tests.scaffolds.installing import PLAIN, Installer


def test_pip_holds_a_wheel_to_the_hash_that_is_written_and_records_what_is_read_here(
    installer: Installer, tmp_path: Path
) -> None:
    tools = installer.environment(PLAIN)
    [wheel] = installer.wheels.glob("desktop_pool_reconciler-*.whl")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()

    def pip(digest: str, target: str) -> subprocess.CompletedProcess[str]:
        # The address is replaced by that of the same file here; https needs a certificate.
        package = installation.named_package(
            f"{DISTRIBUTION} @ https://files.example/{wheel.name}#sha256={digest}"
        )
        argument = (
            package.arguments().strip('"').replace("https://files.example/", f"{wheel.parent.as_uri()}/")
        )
        command = [str(tools / "bin" / "pip"), "install", "-q", "--no-deps", "--no-index", "--no-compile"]
        command += ["--target", str(tmp_path / target), argument]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert "DO NOT MATCH" in pip("ab" * 32, "other").stderr
    done = pip(digest, "here")
    assert done.returncode == 0, done.stderr
    [info] = (tmp_path / "here").glob("*.dist-info")
    told = installation.direct_url(PathDistribution(info))
    assert told
    assert told["archive_info"]["hashes"] == {"sha256": digest}
    with pytest.raises(BadInput, match="file: address"):
        installation.recorded_package(PathDistribution(info))
    # The same, as it would be recorded of a server.
    (info / "direct_url.json").write_text(json.dumps(told | {"url": f"https://files.example/{wheel.name}"}))
    assert installation.recorded_package(PathDistribution(info)).place.endswith(f"#sha256={digest}")


def test_the_installed_program_says_where_it_came_from_and_refuses_to_write_that(
    installer: Installer, tmp_path: Path
) -> None:
    program, env = str(installer.environment(PLAIN) / "bin" / "reconciler"), {"HOME": str(tmp_path)}
    done = subprocess.run(
        [program, "version", "--verbose"], env=env, capture_output=True, text=True, check=True
    )
    assert "installed from: an index or --find-links\ncommit: not recorded\n" in done.stdout
    command = [program, "init", "systemd", "--dir", str(tmp_path)]
    refused = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert refused.returncode == 9
    assert "from an index or --find-links" in refused.stderr
