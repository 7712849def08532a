"""Which files are read, and the faults of those that cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.manifest.events import MAX_BYTES
from reconciler.manifest.files import Files
from tests.unprivileged import reachable_folder, unprivileged


def names(files: Files, root: Path) -> list[str]:
    return [os.path.relpath(file, root) for file, _ in files.read]


def write(path: Path, text: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def only_fault(files: Files) -> str:
    assert not files.read
    assert len(files.faults) == 1, files.faults
    return str(files.faults[0])


def test_a_directory_stands_for_its_visible_yaml_files_sorted(tmp_path: Path) -> None:
    others = (".hidden", ".git/d.yaml", "notes.txt", "schema.json", "a.yaml.bak")
    for name in ("b.yaml", "a.yml", "sub/c.yaml", "sub/D.YAML", "E.Yml", *others):
        write(tmp_path / name)
    files = Files([tmp_path])
    assert names(files, tmp_path) == ["E.Yml", "a.yml", "b.yaml", "sub/D.YAML", "sub/c.yaml"]
    assert not files.faults
    assert not files.notes


@pytest.mark.parametrize(
    ("name", "where", "why"),
    [
        (".limits.yaml", ".limits.yaml", "a hidden file"),
        ("sub/.limits.YML", "sub/.limits.YML", "a hidden file"),
        (".common/limits.yaml", ".common", "a hidden folder with limits.yaml in it"),
        (".common/deep/limits.yaml", ".common", "a hidden folder with deep/limits.yaml in it"),
        ("..common/limits.yaml", "..common", "a hidden folder with limits.yaml in it"),
    ],
)
def test_a_hidden_manifest_is_a_fault_by_name_unless_the_user_names_it(
    tmp_path: Path, name: str, where: str, why: str
) -> None:
    write(tmp_path / "a.yaml")
    write(tmp_path / name)
    (fault,) = Files([tmp_path]).faults
    assert (fault.file, why in fault.what) == (str(tmp_path / where), True)
    files = Files([tmp_path, tmp_path / where])
    assert not files.faults
    assert names(files, tmp_path) == ["a.yaml", name]


def test_a_hidden_folder_without_a_manifest_and_gits_own_are_no_fault(tmp_path: Path) -> None:
    for name in ("a.yaml", ".cache/notes.txt", ".git/refs/heads/a.yaml", "sub/.git/b.yaml"):
        write(tmp_path / name)
    files = Files([tmp_path])
    assert not files.faults
    assert names(files, tmp_path) == ["a.yaml"]


def test_a_hidden_folder_with_a_linked_folder_that_leads_elsewhere_is_a_fault(tmp_path: Path) -> None:
    write(tmp_path / "manifests" / "a.yaml")
    write(tmp_path / "common" / "limits.yaml")
    (tmp_path / "manifests" / ".hidden").mkdir()
    (tmp_path / "manifests" / ".hidden" / "common").symlink_to("../../common")
    (fault,) = Files([tmp_path / "manifests"]).faults
    assert "a hidden folder with common in it" in fault.what


def test_a_linked_folder_inside_the_given_one_is_read_once(tmp_path: Path) -> None:
    write(tmp_path / "common" / "limits.yaml")
    write(tmp_path / "envs" / "prod" / "a.yaml")
    (tmp_path / "envs" / "prod" / "common").symlink_to("../../common")
    (tmp_path / "a-link").symlink_to("common")
    files = Files([tmp_path])
    assert not files.faults
    assert names(files, tmp_path) == ["common/limits.yaml", "envs/prod/a.yaml"]


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    write(tmp_path / "a" / "a.yaml")
    write(tmp_path / "b" / "b.yaml")
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "a" / "b").symlink_to("../b")
    (tmp_path / "b" / "a").symlink_to("../a")
    files = Files([tmp_path])
    assert not files.faults
    assert names(files, tmp_path) == ["a/a.yaml", "b/b.yaml"]


@pytest.mark.parametrize("target", ["../../common", "../../common/limits.yaml"])
def test_a_link_that_leaves_the_given_folder_is_refused_unless_it_is_allowed(
    tmp_path: Path, target: str
) -> None:
    write(tmp_path / "common" / "limits.yaml")
    prod = tmp_path / "envs" / "prod"
    write(prod / "a.yaml")
    (prod / "limits.yaml").symlink_to(target)
    (fault,) = Files([prod]).faults
    assert fault.file == str(prod / "limits.yaml")
    assert "leaves the given folder" in fault.what
    assert "--follow-symlinks" in fault.what
    allowed = Files([prod], follow_symlinks=True)
    assert not allowed.faults
    assert len(allowed.read) == 2
    # What the user names beside it is no surprise either.
    named = Files([prod, tmp_path / "common"])
    assert not named.faults
    assert len(named.read) == 2


def test_a_folder_whose_name_begins_alike_is_not_inside_the_given_one(tmp_path: Path) -> None:
    write(tmp_path / "prod-old" / "b.yaml")
    write(tmp_path / "prod" / "a.yaml")
    (tmp_path / "prod" / "old").symlink_to("../prod-old")
    (fault,) = Files([tmp_path / "prod"]).faults
    assert "leaves the given folder" in fault.what


def test_a_link_that_the_user_names_is_followed(tmp_path: Path) -> None:
    write(tmp_path / "real" / "a.yaml")
    (tmp_path / "current").symlink_to("real")
    assert names(Files([tmp_path / "current"]), tmp_path) == ["current/a.yaml"]


@pytest.mark.parametrize("name", ["common", "limits.yaml", ".limits.yaml"])
def test_a_dangling_link_is_a_fault_whatever_its_name(tmp_path: Path, name: str) -> None:
    write(tmp_path / "a.yaml")
    (tmp_path / name).symlink_to("gone")
    (fault,) = Files([tmp_path]).faults
    assert (fault.file, "no such file" in fault.what) == (str(tmp_path / name), True)


def test_a_link_to_itself_is_a_fault(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").symlink_to("b.yaml")
    (fault,) = Files([tmp_path]).faults
    assert "cannot be read" in fault.what


def test_an_unreadable_folder_below_is_a_fault_also_when_hidden() -> None:
    for name in ("sub", ".sub"):
        with reachable_folder() as folder:
            write(folder / "a.yaml")
            (folder / name).mkdir(mode=0)
            with unprivileged():
                (fault,) = Files([folder]).faults
            assert (fault.file, "permission denied" in fault.what) == (str(folder / name), True)


def test_a_folder_with_a_manifests_name_is_walked(tmp_path: Path) -> None:
    write(tmp_path / "all.yaml" / "a.yaml")
    assert names(Files([tmp_path]), tmp_path) == ["all.yaml/a.yaml"]


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
    # With items that have a path of several steps, whole folders are linked.
    write(tmp_path / "..2026_01_01" / "sub" / "b.yaml")
    (tmp_path / "sub").symlink_to("..data/sub")
    files = Files([tmp_path])
    assert names(files, tmp_path) == ["a.yaml", "sub/b.yaml"]
    assert not files.faults
    # While a new version is mounted, the old one is still there for a moment.
    write(tmp_path / "..2025_12_31" / "a.yaml")
    (tmp_path / "..data_tmp").symlink_to("..2026_01_01")
    assert not Files([tmp_path]).faults


def test_a_mounted_manifest_that_no_link_shows_is_a_fault(tmp_path: Path) -> None:
    write(tmp_path / "..2026_01_01" / "a.yaml")
    (tmp_path / "..data").symlink_to("..2026_01_01")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    write(tmp_path / "..2026_01_01" / "..b.yaml")
    (fault,) = Files([tmp_path]).faults
    assert (fault.file, "..b.yaml in it" in fault.what) == (str(tmp_path / "..data"), True)
    (tmp_path / "..2026_01_01" / "..b.yaml").unlink()
    write(tmp_path / "..common" / "b.yaml")
    (fault,) = Files([tmp_path]).faults
    assert fault.file == str(tmp_path / "..common")


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
