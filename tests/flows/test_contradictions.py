"""A service that contradicts itself about a pool's desktops: nothing is removed, and exit code 3 says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reconciler.sandbox import seed
from reconciler.sandbox.world import Behaviour, Pool
from tests.flows.conftest import Run, manifest
from tests.flows.serving import serving

NO_LIMITS = "limits: {disks: 99, copies: 9999, pools: 99, gigabytes: 99999}"


def pool_with(name: str, behaviour: Behaviour, desktops: int = 150) -> Pool:
    """A pool with a surplus disk, on every desktop of which somebody is working."""
    pool = seed.pool(name, [("SAS", 50), ("SSD", 100)], desktops, desktops)
    for each in pool["desktops"]:
        each["login_status"] = "CONNECTED"
    pool["behaviour"] = behaviour
    return pool


def declared(name: str, more: str = "") -> str:
    return f"{{name: {name}, apply_to: all, {more}disks: [{{type: SAS, size: 50}}]}}"


def apply(run: Run, world: Any, folder: Path, pools: list[str], head: str = NO_LIMITS) -> tuple[Any, int]:
    """Apply over TCP; returns what the command left, and how many writes the service accepted."""
    with serving(world) as served:
        ran = run("apply", "--auto-approve", str(manifest(folder, pools, head)), env=served.env)
        return ran, len(served.posts())


def test_hidden_desktops_never_turn_live_sessions_into_no_copies_and_no_users(
    run: Run, tmp_path: Path
) -> None:
    lying = [
        pool_with("hidden", {"desktops": "hidden"}),
        pool_with("miscounted", {"count": 149}),
    ]
    ran, posts = apply(run, seed.world("lies", lying), tmp_path, [declared("hidden"), declared("miscounted")])
    assert (ran.code, posts) == (3, 0), ran.out + ran.err
    assert "0 desktops were read, and the pool counts 150" in ran.out + ran.err
    assert "150 desktops were read, and the pool counts 149" in ran.out + ran.err


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ({"desktops": "stripped"}, "no desktop has a copy of disk"),
        ({"desktops": "negative"}, "has the size -10 GB"),
    ],
    ids=["stripped", "negative"],
)
def test_copies_that_cannot_be_true_are_a_doubt_that_removes_nothing(
    run: Run, tmp_path: Path, behaviour: Behaviour, words: str
) -> None:
    world = seed.world("lies", [pool_with("p", behaviour)])
    ran, posts = apply(run, world, tmp_path, [declared("p", "allow_live_sessions: true, ")])
    assert (ran.code, posts) == (3, 0), ran.out + ran.err
    assert words in ran.out + ran.err


def test_desktops_without_data_volumes_count_as_holding_a_copy_of_every_disk_that_goes(
    run: Run, tmp_path: Path
) -> None:
    world = seed.world("lies", [pool_with("p", {"desktops": "absent"}, desktops=3)])
    pools = [declared("p", "allow_live_sessions: true, ")]
    ran, posts = apply(run, world, tmp_path, pools, "limits: {copies: 2}")
    assert (ran.code, posts) == (3, 0), ran.out + ran.err
    assert "3 copies would be destroyed; the limit is 2" in ran.out


def test_a_count_that_never_fits_has_a_way_out_that_is_part_of_the_approval(run: Run, tmp_path: Path) -> None:
    world = seed.world("lies", [pool_with("p", {"count": 7}, desktops=3)])
    allowed = declared("p", "allow_live_sessions: true, allow_count_mismatch: true, ")
    ran, posts = apply(run, world, tmp_path, [allowed])
    assert (ran.code, posts) == (0, 1), ran.out + ran.err
    assert "3 desktops were read, and the pool counts 7, which allow_count_mismatch lets pass" in ran.out


def test_an_apply_that_left_pools_alone_says_both_in_its_last_line(run: Run, tmp_path: Path) -> None:
    good = seed.pool("good", [("SAS", 50), ("SSD", 100)], 2, 1)
    connected = pool_with("connected", {}, desktops=2)
    lying = pool_with("lying", {"desktops": "stripped"}, desktops=2)
    world = seed.world("lies", [good, connected, lying])
    ran, posts = apply(run, world, tmp_path, [declared(name) for name in ("good", "connected", "lying")])
    assert (ran.code, posts) == (3, 1), ran.out + ran.err
    words = "Apply incomplete: 1 of 1 change proven. 2 pools blocked and left alone: connected, lying."
    assert words in ran.out
    assert "no changes" not in ran.out


def test_a_pool_that_does_not_count_its_desktops_is_judged_by_the_other_rules_and_says_so(
    run: Run, tmp_path: Path
) -> None:
    lying = pool_with("stripped", {"count": "absent", "desktops": "stripped"}, desktops=3)
    world = seed.world("lies", [pool_with("p", {"count": "absent"}, desktops=3), lying])
    pools = [declared(name, "allow_live_sessions: true, ") for name in ("p", "stripped")]
    ran, posts = apply(run, world, tmp_path, pools)
    assert (ran.code, posts) == (3, 1), ran.out + ran.err
    assert "the service does not say how many desktops the pool has" in ran.out
    assert "no desktop has a copy of disk" in ran.out


def test_a_disk_without_id_is_set_aside_in_words_and_is_one_finding(run: Run, tmp_path: Path) -> None:
    nameless = seed.pool("p", [("SAS", 50), ("SSD", 100)], 2, 1)
    nameless["disks"][1]["id"] = ""
    with serving(seed.world("lies", [nameless])) as served:
        path = str(manifest(tmp_path, [declared("p")]))
        explained = run("explain", "p", path, env=served.env)
        planned = run("plan", path, env=served.env)
    assert "(no id) SSD 100" in explained.out
    assert "set aside" in explained.out
    assert "the manifest declares it" not in explained.out
    assert planned.code == 3
    assert (planned.out.count("has no id"), planned.out.count("! ")) == (1, 1)
