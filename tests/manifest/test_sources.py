"""The files that decide a run are compared byte for byte, the single ones beside the manifests too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.errors import ExitCode, StalePlan
from reconciler.manifest.load import load
from reconciler.manifest.sources import Sources

TARGET = "version: 1\ntarget: {region: ap-southeast-3, project_id: 0123456789abcdef0123456789abcdef}\n"
POOL = TARGET + "pools: [{name: p, disks: [{type: SSD, size: 10}]}]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two manifests, one file of something else, and a policy beside the folder."""
    made = tmp_path / "manifests"
    made.mkdir()
    (made / "a.yaml").write_text(POOL)
    (made / "b.yaml").write_text(TARGET + "limits: {disks: 1}\n")
    (made / "other.yaml").write_text("kind: Deployment\n")
    (tmp_path / "policy.yaml").write_text("strict")
    return made


def test_what_was_loaded_is_what_is_compared(folder: Path) -> None:
    sources = Sources((folder,))
    assert load([folder]).seen == sources.seen()
    sources.check(load([folder]).seen)
    os.utime(folder / "a.yaml", (0, 0))
    (folder / "notes.txt").write_text("no manifest")
    sources.check(load([folder]).seen)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "a.yaml").write_text(POOL + " "), "a.yaml has changed"),
        (lambda folder: (folder / "b.yaml").unlink(), "b.yaml is gone"),
        (lambda folder: (folder / "c.yml").write_text(""), "c.yml is new"),
        (lambda folder: (folder / "other.yaml").write_text("kind: Service\n"), "other.yaml has changed"),
        (lambda folder: (folder / ".reconcilerignore").write_text("b.yaml\n"), "b.yaml is gone"),
        (lambda folder: (folder.parent / "policy.yaml").write_text("lax"), "policy.yaml has changed"),
        (lambda folder: (folder.parent / "policy.yaml").unlink(), "policy.yaml has changed"),
    ],
)
def test_any_change_is_stale_and_named(folder: Path, change: object, words: str) -> None:
    sources = Sources((folder,), others=(folder.parent / "policy.yaml",))
    before = sources.seen()
    sources.check(before)
    assert callable(change)
    change(folder)
    with pytest.raises(StalePlan, match=words) as stale:
        sources.check(before)
    assert stale.value.exit_code is ExitCode.STALE


def test_what_cannot_be_read_is_a_change(folder: Path) -> None:
    sources = Sources((folder,))
    before = sources.seen()
    os.mkfifo(folder / "pipe.yaml")
    with pytest.raises(StalePlan, match=r"pipe.yaml is new"):
        sources.check(before)
