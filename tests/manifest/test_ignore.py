"""Which files ``.reconcilerignore`` leaves out, and what is said of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.manifest.files import Files
from tests.unprivileged import reachable_folder, unprivileged


def write(path: Path, text: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("a.yaml", ["b.yaml", "sub/b.yaml", "sub/deep/b.yaml"]),
        ("/a.yaml", ["b.yaml", "sub/a.yaml", "sub/b.yaml", "sub/deep/b.yaml"]),
        ("sub/a.yaml", ["a.yaml", "b.yaml", "sub/b.yaml", "sub/deep/b.yaml"]),
        ("sub", ["a.yaml", "b.yaml"]),
        ("sub/", ["a.yaml", "b.yaml"]),
        ("deep/", ["a.yaml", "b.yaml", "sub/a.yaml", "sub/b.yaml"]),
        ("sub/*/", ["a.yaml", "b.yaml", "sub/a.yaml", "sub/b.yaml"]),
        ("[ab].yaml", []),
        ("sub/?.yaml", ["a.yaml", "b.yaml", "sub/deep/b.yaml"]),
        ("a.yaml/", ["a.yaml", "b.yaml", "sub/a.yaml", "sub/b.yaml", "sub/deep/b.yaml"]),
        ("A.yaml", ["a.yaml", "b.yaml", "sub/a.yaml", "sub/b.yaml", "sub/deep/b.yaml"]),
        ("# a.yaml", ["a.yaml", "b.yaml", "sub/a.yaml", "sub/b.yaml", "sub/deep/b.yaml"]),
    ],
)
def test_a_pattern_leaves_out_what_git_would(tmp_path: Path, pattern: str, left: list[str]) -> None:
    for name in ("a.yaml", "b.yaml", "sub/a.yaml", "sub/b.yaml", "sub/deep/b.yaml"):
        write(tmp_path / name)
    write(tmp_path / ".reconcilerignore", f"\n{pattern}\n")
    assert [os.path.relpath(file, tmp_path) for file, _ in Files([tmp_path]).read] == left


def test_what_was_left_out_is_said_and_a_pattern_without_effect_too(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml", "notes.md", ".github/workflows/ci.yml"):
        write(tmp_path / name)
    write(tmp_path / ".reconcilerignore", "b.yaml\n*.md\n.github/\nold.yaml\n")
    files = Files([tmp_path])
    where = tmp_path / ".reconcilerignore"
    assert not files.faults
    assert files.notes == [
        f"Left out by {where}: .github, b.yaml.",
        f"Warning: {where}: the pattern 'old.yaml' matches nothing.",
    ]


def test_an_ignored_file_is_not_read_at_all() -> None:
    with reachable_folder() as folder:
        write(folder / "a.yaml")
        write(folder / ".reconcilerignore", "locked.yaml\nlocked/\npipe.yaml\ngone\n.hidden.yaml\n")
        write(folder / "locked.yaml")
        write(folder / ".hidden.yaml")
        (folder / "locked.yaml").chmod(0)
        (folder / "locked").mkdir(mode=0)
        os.mkfifo(folder / "pipe.yaml")
        (folder / "gone").symlink_to("nowhere")
        with unprivileged():
            files = Files([folder])
    assert not files.faults
    assert [os.path.basename(file) for file, _ in files.read] == ["a.yaml"]


def test_an_ignore_file_holds_below_its_folder_whichever_folder_is_given(tmp_path: Path) -> None:
    for name in ("envs/prod/a.yaml", "envs/prod/draft.yaml", "envs/draft.yaml"):
        write(tmp_path / name)
    write(tmp_path / "envs/prod/.reconcilerignore", "draft.yaml\n")
    for given, left in (
        (tmp_path, ["envs/draft.yaml", "envs/prod/a.yaml"]),
        (tmp_path / "envs/prod", ["envs/prod/a.yaml"]),
    ):
        assert [os.path.relpath(file, tmp_path) for file, _ in Files([given]).read] == left


def test_a_file_that_the_user_names_is_read_all_the_same(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml")
    write(tmp_path / ".reconcilerignore", "a.yaml\n")
    assert len(Files([tmp_path / "a.yaml"]).read) == 1


def test_a_folder_of_which_everything_is_left_out_is_a_fault(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml")
    write(tmp_path / ".reconcilerignore", "*\n")
    (fault,) = Files([tmp_path]).faults
    assert "that is not left out" in fault.what


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("!a.yaml", "'!'"),
        ("**/a.yaml", "'**'"),
        ("a\\ b.yaml", "'\\'"),
        ("../a.yaml", "'..'"),
        ("./a.yaml", "'.'"),
    ],
)
def test_a_pattern_that_is_not_understood_is_a_fault_at_its_line(tmp_path: Path, line: str, why: str) -> None:
    write(tmp_path / "a.yaml")
    write(tmp_path / ".reconcilerignore", f"# first\n{line}\n")
    (fault,) = Files([tmp_path]).faults
    assert (fault.file, fault.line) == (str(tmp_path / ".reconcilerignore"), 2)
    assert why in fault.what


def test_an_ignore_file_that_cannot_be_read_as_one_is_a_fault(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml")
    place = tmp_path / ".reconcilerignore"
    place.write_bytes(b"\xff\xfe")
    assert "UTF-8" in Files([tmp_path]).faults[0].what
    place.write_bytes(b"#" * 70_000)
    assert "larger than 64 KiB" in Files([tmp_path]).faults[0].what
    place.write_text("x\n" * 201)
    assert "more than 200 patterns" in Files([tmp_path]).faults[0].what
    place.unlink()
    place.mkdir()
    assert "not a regular file" in Files([tmp_path]).faults[0].what


def test_an_ignore_file_reached_through_a_link_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "manifests" / "a.yaml")
    write(tmp_path / "patterns", "a.yaml\n")
    (tmp_path / "manifests" / ".reconcilerignore").symlink_to("../patterns")
    (fault,) = Files([tmp_path / "manifests"]).faults
    assert "leaves the given folder" in fault.what
