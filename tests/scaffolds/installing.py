"""Runs what ready-made files say about installing: for real, in an empty environment, from wheels in a local folder.

The wheel of reconciler is built from this tree; those of its dependencies are packed from what is installed here, so no
network is needed. Each script runs once per session, also where several processes test; all tests share what it made.
The first that installs begins with an empty environment. That takes seconds, and all files have the same two commands,
so the scripts of the others begin with a copy of what it made, in which pip has nothing to do for the same words. Each
runs the program that it installed once; from then on, ``bash`` forks it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import struct
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from importlib import metadata
from importlib.util import cache_from_source
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from reconciler import DISTRIBUTION, __version__, installation, scaffolds
from reconciler.cli.init import CONSTRAINTS
from tests.flows.conftest import ROOT
from tests.flows.started import server
from tests.scaffolds.shell import STARTED, bash, quickened, satisfied, with_python
from tests.shared import once

PACKAGE = installation.named_package(f"{DISTRIBUTION}=={__version__}", "https://packages.example/simple")
"""What the files of the tests install. The folder of wheels takes the index's place."""
SECRET = "planted-secret"


def files(kind: str) -> dict[str, str]:
    """The files of a kind as ``init`` writes them."""
    return scaffolds.files(kind, PACKAGE.arguments("postgres"))


def header_lines(text: str) -> str:
    """The lines that install, as the header of a file gives them to a person."""
    return "\n".join(re.findall(r"^#   (python3 .+|/opt/.+)$", text, re.M))


PLAIN = header_lines(files("systemd")["reconciler-drift.service"])
"""The two commands alone."""


@dataclass(frozen=True)
class Installer:
    """Installs into folders that all processes of the session share."""

    root: Path

    @property
    def wheels(self) -> Path:
        """The folder of wheels; made on first use."""
        folder = self.root / "wheels"
        with once(folder) as needed:
            if needed:
                _pack_dependencies(folder)
                command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
                subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        return folder

    def environment(self, script: str) -> Path:
        """The environment that a script makes in ``$RUNNER_TEMP``, ``$WORKSPACE_TMP``, a ``mktemp -d`` or /opt.

        The checkout in which it runs holds programs and modules that must not run, the environment secrets
        that must not be seen.
        """
        made = None if script == PLAIN else self.environment(PLAIN)
        place = self.root / hashlib.sha256(script.encode()).hexdigest()[:16]
        wheels = self.wheels
        with once(place) as needed:
            if needed:
                _install(script, place, wheels, made)
        [environment] = (place / "temp").iterdir()
        if made is None:
            STARTED["STARTED"] = server(str(environment / "bin" / "python"))
        return environment


def _install(script: str, place: Path, wheels: Path, made: Path | None) -> None:
    checkout, temp, home = (place / name for name in ("checkout", "temp", "home"))
    for folder in (checkout, temp, home / ".config" / "pip"):
        folder.mkdir(parents=True)
    # pip's own way to say that it does not compile is a "no", which turns its --no-compile on.
    settings = f"no-index = true\nfind-links = {wheels}\nno-compile = no\ndisable-pip-version-check = true\n"
    (home / ".config" / "pip" / "pip.conf").write_text(f"[global]\n{settings}")
    (checkout / CONSTRAINTS).write_text(installation.constraints(installation.versions()))
    trace = place / "ran-from-the-checkout"
    for name in ("venv", "ensurepip", "pip", "sitecustomize", "json"):
        (checkout / f"{name}.py").write_text(f"open({str(trace)!r}, 'w')\n")
    for name in ("python3", "pip", "reconciler"):
        program = checkout / ".venv" / "bin" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/bin/sh\ntouch {trace}\n")
        program.chmod(0o755)
    given = {
        "HOME": str(home),
        "RUNNER_TEMP": str(temp),
        "WORKSPACE_TMP": str(temp),
        "TMPDIR": str(temp),
        "GITHUB_PATH": str(place / "path"),
    }
    # What a platform puts into the environment of every script of a job, whatever the script is for.
    secrets = {
        "RUNNER_TEMP": ("ACTIONS_ID_TOKEN_REQUEST_TOKEN",),
        "mktemp": ("HUAWEICLOUD_OIDC_ID_TOKEN", "RECONCILER_JOURNAL"),
    }
    hidden = {name: SECRET for mark, names in secrets.items() if mark in script for name in names}
    ran = bash(
        script.replace("/opt/reconciler", f"{temp}/reconciler"),
        checkout,
        given | hidden,
        with_python(place / "bin", record=place / "environment", made=made),
    )
    assert ran.code == 0, ran.out
    [program] = temp.glob("*/bin/reconciler")
    if made is None:
        _compile(program.parents[1])
        satisfied(program.with_name("pip"), shlex.split(PLAIN.splitlines()[1])[1:], checkout / CONSTRAINTS)
    command = "validate" if made else "plan --sandbox"
    ran = bash(f"{program} {command} {ROOT}/manifests", checkout, {"HOME": str(home)})
    assert ran.code in (0, 3), ran.out
    assert not trace.exists()
    assert SECRET not in (place / "environment").read_text()
    quickened(program)


def _compile(environment: Path) -> None:
    """Compile what was installed, by taking over what is compiled of the same files here."""
    [installed] = environment.glob("lib/python*/site-packages")
    packages = Path(sysconfig.get_path("purelib"))
    for source in [path for each in installed.iterdir() if each.name != "pip" for path in each.rglob("*.py")]:
        name = source.relative_to(installed)
        here = (ROOT if name.parts[0] == "reconciler" else packages) / name
        compiled = Path(cache_from_source(str(here)))
        if compiled.exists() and here.read_bytes() == source.read_bytes():
            told, kept = source.stat(), compiled.read_bytes()
            if kept[:16] == _head(kept, here.stat()):
                target = Path(cache_from_source(str(source)))
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(_head(kept, told) + kept[16:])


def _head(compiled: bytes, of: os.stat_result) -> bytes:
    """What a compiled file begins with, whose source is this one."""
    return compiled[:4] + struct.pack("<3I", 0, int(of.st_mtime), of.st_size)


def _pack_dependencies(folder: Path) -> None:
    """Put what is installed here, and reconciler needs, back into wheels."""
    found = dict[tuple[str, frozenset[str]], metadata.Distribution]()
    _need(DISTRIBUTION, frozenset({"postgres"}), found)
    for name, each in {name: each for (name, _), each in found.items()}.items():
        if name != DISTRIBUTION:
            _pack(each, folder)


def _need(
    name: str, extras: frozenset[str], found: dict[tuple[str, frozenset[str]], metadata.Distribution]
) -> None:
    """Find a distribution, by its normalized name, and what it needs with these extras."""
    if (name, extras) not in found:
        found[name, extras] = metadata.distribution(name)
        for each in map(Requirement, found[name, extras].requires or []):
            if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in extras | {""}):
                _need(canonicalize_name(each.name), frozenset(each.extras), found)


def _pack(distribution: metadata.Distribution, folder: Path) -> None:
    told = distribution.read_text("WHEEL") or ""
    tags = [line.removeprefix("Tag: ").split("-") for line in told.splitlines() if line.startswith("Tag: ")]
    tag = "-".join(".".join(sorted(set(part))) for part in zip(*tags, strict=True))
    made_by_installing = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"}
    kept = [
        each
        for each in distribution.files or []
        if not {"..", "__pycache__"} & set(each.parts) and each.name not in made_by_installing
    ]
    [info] = {each.parent for each in kept if each.name == "METADATA" and each.parent.suffix == ".dist-info"}
    name = f"{distribution.name.replace('-', '_')}-{distribution.version}-{tag}.whl"
    with zipfile.ZipFile(folder / name, "w") as wheel:
        for each in kept:
            wheel.write(each.locate(), str(each))
        record = [*(f"{each},," for each in kept), f"{info}/RECORD,,"]
        wheel.writestr(f"{info}/RECORD", "\n".join(record) + "\n")
