"""Nothing is written through a symbolic link, and places that others may write are recognised."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

import pytest

from reconciler.files import append_to, writable_by_others, write_atomically, write_file


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_is_its_owners_alone_and_one_that_exists_keeps_its_rights(tmp_path: Path) -> None:
    new, shared = tmp_path / "new", tmp_path / "shared"
    shared.write_text("a longer text than the new one")
    shared.chmod(0o644)
    for path in (new, shared):
        write_file(path, "text \ud800\n")
        assert path.read_text() == "text \\ud800\n"
    assert (mode(new), mode(shared)) == (0o600, 0o644)


@pytest.mark.parametrize("dangling", [True, False])
def test_no_writer_writes_through_a_link(tmp_path: Path, dangling: bool) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    if not dangling:
        target.write_text("untouched")
    link.symlink_to(target)
    for write in (write_file, append_to, write_atomically):
        with pytest.raises(OSError, match="symbolic link"):
            write(link, "text")
    assert target.exists() is not dangling
    assert dangling or target.read_text() == "untouched"


def test_a_link_on_the_way_below_the_given_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "inner").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to(tmp_path / "given")
    for path, below in (("given/inner/file", "given"), ("link/file", "link")):
        with pytest.raises(OSError, match="symbolic link"):
            write_file(tmp_path / path, "text", below=tmp_path / below)
    assert os.listdir(tmp_path / "elsewhere") == []
    write_file(tmp_path / "link" / "file", "text")  # the way to a folder that was given is its owner's choice


def test_a_file_that_must_be_new_replaces_none(tmp_path: Path) -> None:
    write_file(tmp_path / "file", "first", new=True)
    with pytest.raises(FileExistsError):
        write_file(tmp_path / "file", "second", new=True)


def test_the_systems_own_links_to_streams_are_no_links(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("w") as stream:
        write_file(Path(f"/dev/fd/{stream.fileno()}"), "text")
    assert (tmp_path / "stream").read_text() == "text"


def test_a_place_is_writable_by_others_if_everybody_may_write_or_a_group_that_is_not_private(
    tmp_path: Path,
) -> None:
    for each, expected in ((0o700, False), (0o755, False), (0o777, True), (0o1777, True), (0o702, True)):
        tmp_path.chmod(each)
        assert writable_by_others(tmp_path) is expected
    tmp_path.chmod(0o770)
    own = grp.getgrgid(os.getgid())
    private = own.gr_name == pwd.getpwuid(os.getuid()).pw_name and len(own.gr_mem) <= 1
    assert writable_by_others(tmp_path) is not private


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a folder to another group")
def test_a_group_of_several_may_not_write_and_one_without_a_name_may(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    os.chown(tmp_path, -1, next(each.gr_gid for each in grp.getgrall() if each.gr_name != "root"))
    assert writable_by_others(tmp_path)
    os.chown(tmp_path, -1, 54321)  # as Kubernetes mounts a volume with fsGroup
    assert not writable_by_others(tmp_path)
