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
