"""Which files are read, and the faults of those that cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

from reconciler.manifest.events import MAX_BYTES
from reconciler.manifest.files import Files
from tests.unprivileged import reachable_folder, unprivileged


def names(files: Files, root: Path) -> list[str]:
    return [os.path.relpath(file, root) for file, _ in files.read]


def only_fault(files: Files) -> str:
    assert not files.read
    assert len(files.faults) == 1, files.faults
    return str(files.faults[0])


def test_a_directory_stands_for_its_visible_yaml_files_sorted(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "sub/c.yaml", ".hidden.yaml", ".git/d.yaml", "notes.txt", "schema.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    files = Files([tmp_path])
    assert names(files, tmp_path) == ["a.yml", "b.yaml", "sub/c.yaml"]
    assert not files.faults


def test_the_same_file_counts_once_however_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("x")
    (tmp_path / "link.yaml").symlink_to("a.yaml")
    files = Files([tmp_path / "a.yaml", tmp_path, str(tmp_path / "." / "a.yaml"), tmp_path / "link.yaml"])
    assert names(files, tmp_path) == ["a.yaml"]


def test_a_file_named_itself_needs_no_suffix_and_may_be_hidden(tmp_path: Path) -> None:
    (tmp_path / ".pools").write_text("x")
    assert names(Files([tmp_path / ".pools"]), tmp_path) == [".pools"]


def test_mounted_config_maps_are_read_once(tmp_path: Path) -> None:
    # Kubernetes mounts files as links through a hidden directory that is itself a link.
    (tmp_path / "..2026_01_01").mkdir()
    (tmp_path / "..2026_01_01" / "a.yaml").write_text("x")
    (tmp_path / "..data").symlink_to("..2026_01_01")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    assert names(Files([tmp_path]), tmp_path) == ["a.yaml"]


def test_an_empty_directory_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("x")
    assert "no .yaml or .yml file" in only_fault(Files([tmp_path]))


def test_a_missing_file_is_a_fault_and_the_others_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("x")
    files = Files([tmp_path / "absent.yaml", tmp_path / "a.yaml"])
    assert names(files, tmp_path) == ["a.yaml"]
    assert "no such file" in str(files.faults[0])


def test_a_broken_link_in_a_directory_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("gone.yaml")
    assert "no such file" in only_fault(Files([tmp_path]))


def test_an_unreadable_file_or_directory_is_a_fault() -> None:
    with reachable_folder() as folder:
        (folder / "a.yaml").write_text("x")
        (folder / "a.yaml").chmod(0)
        with unprivileged():
            assert "permission denied" in only_fault(Files([folder]))
            (folder / "sub").mkdir(mode=0)
            assert "permission denied" in str(Files([folder / "sub"]).faults[0])


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    assert "not a regular file" in only_fault(Files([tmp_path / "a.yaml"]))
    assert "not a regular file" in only_fault(Files([tmp_path]))


def test_a_device_is_refused() -> None:
    assert "not a regular file" in only_fault(Files(["/dev/zero"]))


def test_a_file_of_two_megabytes_is_refused_and_one_at_the_limit_is_read(tmp_path: Path) -> None:
    (tmp_path / "big.yaml").write_bytes(b"#" * 2_000_000)
    assert "larger than 1024 KiB" in only_fault(Files([tmp_path]))
    (tmp_path / "big.yaml").write_bytes(b"#" * MAX_BYTES)
    assert names(Files([tmp_path]), tmp_path) == ["big.yaml"]
    (tmp_path / "big.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    assert "larger than 1024 KiB" in only_fault(Files([tmp_path]))


def test_a_path_that_cannot_be_a_path_is_a_fault_with_its_characters_escaped() -> None:
    assert only_fault(Files(["a\0b.yaml"])) == "a\\x00b.yaml: not a valid path; check it"
    assert only_fault(Files(["a\x1b[2J.yaml"])).startswith("a\\x1b[2J.yaml: no such file")
