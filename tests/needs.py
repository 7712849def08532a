"""What tests need from outside Python; without it they are skipped, naming the system package that brings it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

NO_SKIP = "RECONCILER_TESTS_NO_SKIP"
"""Set, any skip is a failure: ``.ci/run`` has installed everything, so a skip would hide something."""

_PACKAGES = {
    "curl": ("curl",),
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "gh": ("gh",),
    "git": ("git",),
    "jq": ("jq",),
    "openssh-client": ("ssh-keygen",),
    "openssl": ("openssl",),
    "prometheus": ("prometheus",),
    "systemd": ("systemd-analyze",),
}
"""System packages with the programs that they bring under one name or another."""


def program(package: str) -> str:
    """The path of what this package brings; skips the test when it is not installed."""
    found = next(filter(None, map(shutil.which, _PACKAGES[package])), None)
    return found or missing(package)


def postgresql(name: str) -> str:
    """The path of one of PostgreSQL's server programs, which Debian keeps out of the PATH; skips as ``program``."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    return str(found[-1]) if found else shutil.which(name) or missing("postgresql")


def missing(package: str) -> str:
    """Skip the test, or fail it where nothing may be missing."""
    pytest.skip(f"needs the system package {package}")


def no_skip() -> bool:
    """True where a skip is a failure."""
    return bool(os.environ.get(NO_SKIP))
