"""A manifest that somebody is writing deletes nothing that it declares before and after, however it is written.

Writers go on when something happens, a request or the end of a round, and never by time.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler import sandbox
from reconciler.sandbox import seed
from reconciler.sandbox.world import World
from tests import needs
from tests.flows.conftest import Run
from tests.flows.rounds import noticing, watched
from tests.flows.skipping import TIME
from tests.flows.test_drift import ALWAYS

HEAD = f"""\
version: 1
target: {{region: {sandbox.REGION}, project_id: {sandbox.PROJECT_ID}}}
drift: {{correct: [remove], disks_per_day: 5, windows: [{ALWAYS}]}}
pools:
  - name: p
    apply_to: all
    disks:
"""
SSD, SAS = "      - {type: SSD, size: 100}\n", "      - {type: SAS, size:  50}\n"
# Both declare both disks of the pool, so whatever is removed was never to go.
BEFORE, PIECES = HEAD + SSD + SAS, (HEAD, SAS, SSD)
AFTER = "".join(PIECES)

Writer = Iterator[None]
"""Each step changes the disk's content a little; it is done when it ends."""


def world() -> World:
    return seed.world("writing", [seed.pool("p", [("SAS", 50), ("SSD", 100)], 3, 2)])


def truncated(path: Path) -> Writer:
    with path.open("w", encoding="utf-8") as file:
        yield
        for piece in PIECES:
            file.write(piece)
            file.flush()
            yield


def appended(path: Path) -> Writer:
    path.write_bytes(b"")
    for piece in PIECES:
        yield
        with path.open("a", encoding="utf-8") as file:
            file.write(piece)


def overwritten(path: Path) -> Writer:
    assert len(BEFORE) == len(AFTER)
    with path.open("r+", encoding="utf-8") as file:
        for piece in PIECES:
            file.write(piece)
            file.flush()
            yield


def made_again(path: Path) -> Writer:
    path.unlink()
    yield
    yield from appended(path)


def renamed(path: Path) -> Writer:
    other = path.with_name("pools.new")
    for _ in appended(other):
        yield
    other.replace(path)
    yield


def mounted(path: Path) -> Writer:
    """As Kubernetes replaces a ConfigMap: a new folder is filled, and one link is renamed over another."""
    folder = path.parent
    new = folder / "..2026_02"
    new.mkdir()
    for _ in appended(new / path.name):
        yield
    (folder / "..data_tmp").symlink_to(new.name)
    yield
    (folder / "..data_tmp").replace(folder / "..data")
    yield
    (folder / "..2026_01" / path.name).unlink()


def checked_out(path: Path) -> Writer:
    """As git changes files: each is removed and made again, between two commits that are complete."""
    _git(path, "checkout", "-q", "after")
    yield


def _git(path: Path, *words: str) -> None:
    who = ("-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false")
    subprocess.run([needs.program("git"), *who, *words], cwd=path.parent, check=True, capture_output=True)


WRITERS = [truncated, appended, overwritten, made_again, renamed, mounted]


def prepared(writer: Callable[[Path], Writer], folder: Path) -> Path:
    """A folder with the manifest as it was before, in the way that this writer needs it."""
    folder.mkdir()
    if writer is mounted:
        (folder / "..2026_01").mkdir()
        (folder / "..2026_01" / "pools.yaml").write_text(BEFORE)
        (folder / "..data").symlink_to("..2026_01")
        (folder / "pools.yaml").symlink_to("..data/pools.yaml")
    else:
        (folder / "pools.yaml").write_text(BEFORE)
    if writer is checked_out:
        for branch, text in (("before", BEFORE), ("after", AFTER)):
            _git(
                folder / "pools.yaml",
                *(("init", "-q") if branch == "before" else ("checkout", "-q", "before")),
            )
            _git(folder / "pools.yaml", "checkout", "-q", "-b", branch)
            (folder / "pools.yaml").write_text(text)
            _git(folder / "pools.yaml", "add", "-A")
            _git(folder / "pools.yaml", "commit", "-q", "-m", branch)
        _git(folder / "pools.yaml", "checkout", "-q", "before")
    return folder / "pools.yaml"


@pytest.mark.parametrize("writer", WRITERS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("pace", [0, 2])
def test_a_watch_corrects_nothing_by_half_a_manifest(
    tmp_path: Path, writer: Callable[[Path], Writer], pace: int
) -> None:
    path = prepared(writer, tmp_path / "manifests")
    steps = writer(path)
    asked = [0, 0]

    def notice(_method: str) -> None:
        asked[0] += 1
        if pace and asked[0] > 4 and asked[0] % pace == 0:
            next(steps, None)

    def between(_ended: int) -> None:
        if asked[0] == asked[1] or not pace:  # a round that found only a fault has asked for nothing
            next(steps, None)
        asked[1] = asked[0]

    TIME.reset()
    with noticing(world(), notice) as served:
        ran = watched(tmp_path, served, str(path.parent), "--correct", rounds=9, between=between)
        assert served.posts() == []
    assert next(steps, "done") == "done"
    assert path.read_text() == AFTER
    assert ran.out.rstrip().endswith("No drift: 1 pool checked, all as declared.")


@pytest.mark.parametrize("writer", [*WRITERS, checked_out], ids=lambda each: each.__name__)
def test_a_surplus_is_corrected_two_rounds_after_a_writer_has_ended(
    tmp_path: Path, writer: Callable[[Path], Writer]
) -> None:
    path = prepared(writer, tmp_path / "manifests")
    more = seed.world("writing", [seed.pool("p", [("SAS", 50), ("SSD", 100), ("SATA", 10)], 3, 2)])

    sent: list[int] = []

    def between(ended: int) -> None:
        sent.append(len(served.posts()))
        if ended == 1:
            list(writer(path))

    TIME.reset()
    with noticing(more, lambda _: None) as served:
        ran = watched(tmp_path, served, str(path.parent), "--correct", rounds=3, between=between)
        assert [disk["type"] for disk in served.pool("p")["disks"]] == ["SAS", "SSD"]
    assert sent == [0, 0, 1]
    assert "drift-unsettled: no round before this one has read the manifests" in ran.out


@pytest.mark.parametrize(
    "command", [("apply", "--auto-approve"), ("drift", "--correct")], ids=lambda each: each[0]
)
@pytest.mark.parametrize("writer", [truncated, renamed], ids=lambda each: each.__name__)
def test_a_manifest_that_changes_before_the_first_call_is_stale(
    run: Run, tmp_path: Path, command: tuple[str, ...], writer: Callable[[Path], Writer]
) -> None:
    half = tmp_path / "half"
    asked: list[str] = []

    def at_request(number: int) -> int:
        """Start from half a manifest that is valid; it is filled at the request of that number."""
        path = prepared(writer, half)
        path.write_text(HEAD + SSD)
        asked.clear()

        def notice(method: str) -> None:
            asked.append(method)
            if len(asked) == number:
                list(writer(path))

        with noticing(world(), notice) as served:
            ran = run(command[0], str(path), *command[1:], env=served.env)
            sent = len(served.posts())
        path.unlink()
        os.rmdir(half)
        assert (sent, ran.code) in ((0, 4), (1, 0)), ran.err + ran.out
        return sent

    assert at_request(10_000) == 1  # whoever never finishes writing cannot be noticed
    last_read = asked.index("POST")
    for number in (1, last_read // 2, last_read):
        assert at_request(number) == 0


def test_the_sources_are_read_again_between_pools(run: Run, tmp_path: Path) -> None:
    pools = [seed.pool(name, [("SAS", 50), ("SSD", 100)], 3, 2) for name in ("p", "q")]
    path = tmp_path / "pools.yaml"
    path.write_text(HEAD + SSD + "  - {name: q, apply_to: all, disks: [{type: SSD, size: 100}]}\n")

    def notice(method: str) -> None:
        if method == "POST":
            path.write_text(path.read_text() + "# somebody has an idea\n")

    with noticing(seed.world("writing", pools), notice) as served:
        ran = run("apply", str(path), "--auto-approve", "--keep-going", env=served.env)
        assert (ran.code, len(served.posts())) == (4, 1)
    assert "pools.yaml has changed" in ran.out


def test_a_policy_that_is_removed_while_a_run_is_under_way_corrects_nothing(run: Run, tmp_path: Path) -> None:
    path, asked = tmp_path / "pools.yaml", list[str]()
    path.write_text(HEAD + SSD)

    def notice(method: str) -> None:
        asked.append(method)
        if len(asked) == 6:
            path.write_text("\n".join(line for line in (HEAD + SSD).splitlines() if "drift:" not in line))

    with noticing(world(), notice) as served:
        ran = run("drift", str(path), "--correct", env=served.env)
        assert (ran.code, served.posts()) == (4, [])
    assert "POST" not in asked


def test_files_that_come_back_are_settled_one_round_later(tmp_path: Path) -> None:
    path, sent = tmp_path / "pools.yaml", list[int]()
    path.write_text(HEAD + SSD)

    def between(ended: int) -> None:
        sent.append(len(served.posts()))
        if ended == 1:
            path.rename(tmp_path / "elsewhere")
        if ended == 2:
            (tmp_path / "elsewhere").rename(path)

    TIME.reset()
    with noticing(world(), lambda _: None) as served:
        watched(tmp_path, served, str(path), "--correct", rounds=4, between=between)
    assert sent == [0, 0, 0, 1]
