"""A saved plan comes back exactly as it was written, or not at all."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.plan_files import is_plan_file, load, save
from reconciler.errors import BadInput, ExitCode
from reconciler.planning.plan import Plan, digest_of
from tests import sample_plans

SCENES: list[Callable[[], Plan]] = [
    sample_plans.no_changes,
    sample_plans.resize,
    sample_plans.tie,
    sample_plans.two_removals,
    sample_plans.waiting,
    sample_plans.over_limit,
    sample_plans.target_failed,
    sample_plans.sandbox,
    sample_plans.everything,
]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "plan.json"
    save(sample_plans.everything(), path)
    return path


def rewritten(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what the file says and write it back as it was written."""
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told, separators=(",", ":")))


# --- back as it was ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_a_plan_comes_back_equal_with_the_same_digest(scene: Callable[[], Plan], tmp_path: Path) -> None:
    plan = scene()
    save(plan, tmp_path / "plan")
    again = load(tmp_path / "plan")
    assert again == plan
    assert again.digest == plan.digest


@pytest.mark.parametrize("text", ["a\udcffb", "\u202e</script>\n\x00", "💾" * 40])
def test_foreign_text_comes_back_too(text: str, tmp_path: Path) -> None:
    plan = sample_plans.hostile(text)
    save(plan, tmp_path / "plan")
    assert load(tmp_path / "plan") == plan


# --- how it is written ------------------------------------------------------------------------------


def test_only_the_owner_can_read_it(saved: Path) -> None:
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600


def test_only_the_owner_can_read_it_even_over_a_file_that_was_open_to_all(tmp_path: Path) -> None:
    path = tmp_path / "plan"
    path.write_text("old")
    path.chmod(0o666)
    save(sample_plans.tie(), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load(path) == sample_plans.tie()


def test_a_link_is_refused_and_neither_followed_nor_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("untouched")
    link.symlink_to(target)
    with pytest.raises(BadInput, match="symbolic link"):
        save(sample_plans.tie(), link)
    assert target.read_text() == "untouched"
    assert link.is_symlink()


@pytest.mark.parametrize("mode", [0o602, 0o666])
def test_a_plan_file_that_others_may_write_is_refused(saved: Path, mode: int) -> None:
    saved.chmod(mode)
    with pytest.raises(BadInput, match="can be written by other users") as refusal:
        load(saved)
    assert "0600" in refusal.value.hint
    saved.chmod(0o644)
    load(saved)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to another user")
def test_a_plan_file_of_another_user_is_refused(saved: Path) -> None:
    os.chown(saved, 54321, -1)
    with pytest.raises(BadInput, match="belongs to another user") as refusal:
        load(saved)
    assert "reconciler plan" in refusal.value.hint


def test_nothing_is_left_beside_it(saved: Path) -> None:
    assert list(saved.parent.iterdir()) == [saved]


@pytest.mark.parametrize("place", ["missing/plan", ".", "x" * 300], ids=["no folder", "a folder", "too long"])
def test_a_place_that_cannot_be_written_is_bad_input_and_leaves_nothing(place: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be written") as told:
        save(sample_plans.tie(), tmp_path / place)
    assert "--out" in told.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["pipe", "folder", "link to a device"])
def test_nothing_but_a_regular_file_is_written_over_or_read(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "plan"
    match kind:
        case "pipe":
            os.mkfifo(place)
        case "folder":
            place.mkdir()
        case _:
            place.symlink_to("/dev/null")
    before = place.lstat()
    with pytest.raises(BadInput, match="exists and is not a regular file"):
        save(sample_plans.everything(), place)
    after = place.lstat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert list(tmp_path.iterdir()) == [place]
    with pytest.raises(BadInput, match="it is not a regular file"):
        load(place)
    assert not is_plan_file(place)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks Linux for a link to an open file")
def test_a_link_of_the_system_to_a_file_is_not_replaced(tmp_path: Path) -> None:
    with open(tmp_path / "open", "w") as file, pytest.raises(BadInput, match="not a regular file"):
        save(sample_plans.everything(), Path(f"/proc/self/fd/{file.fileno()}"))


def test_a_plan_that_cannot_be_put_in_place_leaves_what_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "plan"
    folder.mkdir()
    (folder / "kept").write_text("here")
    with pytest.raises(BadInput, match="cannot be written"):
        save(sample_plans.tie(), folder)
    assert list(tmp_path.iterdir()) == [folder]
    assert (folder / "kept").read_text() == "here"


# --- what is refused --------------------------------------------------------------------------------


def test_every_single_changed_byte_is_noticed(saved: Path) -> None:
    plan, data = load(saved), saved.read_bytes()
    for place in range(0, len(data), 97):
        saved.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        try:
            assert load(saved) == plan, place  # a change that says the same, such as in an escape
        except BadInput:
            continue


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_no_plan(saved: Path, part: float) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(BadInput, match="is not a plan file"):
        load(saved)


def test_more_than_one_document_is_no_plan(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes() * 2)
    with pytest.raises(BadInput, match="is not a plan file"):
        load(saved)


TAMPERED: dict[str, Callable[[dict[str, Any]], object]] = {
    "a disk id": lambda told: told["plan"]["pools"][0]["live"]["disks"][0].update(id="another"),
    "a limit": lambda told: told["plan"]["limits"]["disks"].update(value=None),
    "an expiry": lambda told: told["plan"].update(expires="2099-01-01T00:00:00Z"),
    "findings": lambda told: [pool.update(findings=[]) for pool in told["plan"]["pools"]],
    "one more key": lambda told: told["plan"].update(more=1),
    "the checksum": lambda told: told.update(checksum="0" * 64),
    "no checksum": lambda told: told.pop("checksum"),
    "no plan": lambda told: told.pop("plan"),
}


@pytest.mark.parametrize("change", TAMPERED.values(), ids=TAMPERED)
def test_an_edited_plan_is_refused(saved: Path, change: Callable[[dict[str, Any]], object]) -> None:
    rewritten(saved, change)
    with pytest.raises(BadInput, match="damaged or was edited"):
        load(saved)


def test_a_digest_that_does_not_fit_the_decision_is_refused(saved: Path) -> None:
    rewritten(saved, lambda told: told.update(digest="0" * 64))
    with pytest.raises(BadInput, match="digest does not fit"):
        load(saved)


@pytest.mark.parametrize("body", [{}, {"id": 1}, {"id": "x", "pools": []}])
def test_a_body_with_a_right_checksum_that_is_no_plan_is_refused(saved: Path, body: dict[str, Any]) -> None:
    rewritten(saved, lambda told: told.update(plan=body, checksum=digest_of(body)))
    with pytest.raises(BadInput, match="does not hold a plan"):
        load(saved)


@pytest.mark.parametrize("version", [1, 0, "2", None])
def test_another_format_is_refused_by_its_number(saved: Path, version: object) -> None:
    rewritten(saved, lambda told: told.update(format=version))
    with pytest.raises(BadInput, match=f"plan format {version!r}; this version reads format 2"):
        load(saved)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"version: 1\npools: []\n",
        b"[]",
        b"null",
        b"{}",
        b'{"kind":"terraform"}',
        b"\xff\xfe\x00",
        b'{"kind":' * 100_000,
        b"[" * 100_000,
        b"1" * 5_000,
    ],
    ids=[
        "empty",
        "manifest",
        "list",
        "null",
        "object",
        "other",
        "binary",
        "deep objects",
        "deep lists",
        "huge",
    ],
)
def test_a_file_that_is_something_else_is_no_plan(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="is not a plan file") as told:
        load(path)
    assert told.value.exit_code is ExitCode.BAD_INPUT
    assert "reconciler plan" in told.value.hint


def test_a_deep_body_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    body = '{"a":' * 900 + "1" + "}" * 900
    path.write_text(f'{{"kind":"reconciler-plan","format":1,"checksum":"","plan":{body}}}')
    with pytest.raises(BadInput):
        load(path)


def test_a_file_that_cannot_be_read_is_bad_input(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(BadInput, match="cannot be read"):
            load(path)


# --- telling it from a manifest ---------------------------------------------------------------------


def test_a_saved_plan_is_told_from_a_manifest_by_its_first_bytes(saved: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "pools.yaml"
    manifest.write_text("version: 1\n")
    assert is_plan_file(saved)
    assert not is_plan_file(manifest)
    assert not is_plan_file(tmp_path)
    assert not is_plan_file(tmp_path / "missing")
