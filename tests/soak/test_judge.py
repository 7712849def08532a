"""The judge of a soak is red on each wrong deletion, or a green soak would mean nothing."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.journal.records import Journal, PoolKey, SentDisk
from reconciler.journal.states import State
from reconciler.sandbox.world import Pool, World
from reconciler.values import replace
from tests.journal.samples import LEASE, intent
from tests.memory_journal import memory_journal
from tests.soak.judge import complaints
from tests.soak.stage import Manifests, policy, world

OPENED = datetime(2026, 3, 1, 8, tzinfo=UTC)


class Played:
    """A soak of 21 pools in which nothing has gone yet."""

    def __init__(self, folder: Path) -> None:
        self.live, names = world(21)
        self.manifests = Manifests(folder / "manifests", random.Random(1), names)
        self.manifests.write_all(policy(3, 3, OPENED))
        self.manifests.undeclared.clear()
        self.time = OPENED
        self.journal: Journal = memory_journal(lambda: self.time)
        self.serial = 0

    def pool(self, name: str) -> Pool:
        [project] = self.live["projects"].values()
        return next(each for each in project["pools"].values() if each["name"] == name)

    def surplus(self, name: str, minute: float, until: float = 1e9) -> None:
        """The manifest stops declaring the disk, and declares it again."""
        at = (OPENED + timedelta(minutes=minute)).timestamp()
        self.manifests.undeclared.append((name, at, at + 60 * until))

    def removal(self, name: str, minute: float, kind: str = "SATA", known: bool = True) -> None:
        """A run begins at that minute, and has the disk removed half a minute later."""
        pool = self.pool(name)
        disk = next(each for each in pool["disks"] if each["type"] == kind)
        self.serial += 1
        self.time = OPENED + timedelta(minutes=minute)
        run = f"run-{self.serial}"
        self.journal.open_run(run, "correct", "1", [])
        self.time += timedelta(seconds=30)
        if known:
            key = PoolKey("r/p", "s", pool["id"])
            sent = SentDisk(disk["id"], disk["type"], disk["size"])
            asked = replace(
                intent(f"op-{self.serial}", key, generation=self.journal.generation(key)),
                run_id=run,
                disks=(sent,),
                copies=(),
            )
            self.journal.open_operation(asked, run, LEASE)
            self.journal.close_operation(asked.operation_id, run, State.DONE, "gone")
        entry: Any = {
            "time": self.time.timestamp(),
            "path": f"/v2/p/desktop-pools/{pool['id']}/volumes/batch-delete",
            "body": {"volumes": [{"id": disk["id"], "type": disk["type"], "size": disk["size"]}]},
            "status": 200,
        }
        self.live["record"].append(entry)

    def verdict(self) -> list[str]:
        found, _ = complaints(self.live, self.manifests, self.journal, 3, OPENED)
        return found


@pytest.fixture
def played(tmp_path: Path) -> Played:
    return Played(tmp_path)


def test_what_policy_budget_and_windows_allow_is_green(played: Played) -> None:
    for number, name in enumerate(("p-001", "p-002", "p-003")):
        played.surplus(name, 0.1)
        played.removal(name, number / 4)
    played.removal("h-0", 2.1)  # by hand, whenever
    assert played.verdict() == []


SATA, ALWAYS = "SATA", (0.0, 1e9)
NEVER: tuple[float, float] = (0.0, 0.0)
"""From which minute until which a manifest does not declare the disk; at the very beginning it does not either."""
WRONG = {
    "went although the manifest had declared them": (NEVER, [("p-001", 1.0, SATA, True)]),
    "p-001: ['": ((0.0, 0.5), [("p-001", 1.2, SATA, True)]),
    "every version declares it": (ALWAYS, [("p-001", 1.0, "SSD", True)]),
    "was deleted twice": (ALWAYS, [("p-001", 0.0, SATA, True), ("p-001", 1.0, SATA, True)]),
    "m-000 was changed, and no policy allows that": (ALWAYS, [("m-000", 1.0, SATA, True)]),
    "u-1 was changed, and no policy allows that": (ALWAYS, [("u-1", 1.0, SATA, True)]),
    "outside every window": (ALWAYS, [("p-001", 2.2, SATA, True)]),
    "a call that the journal does not know": (ALWAYS, [("p-001", 1.0, SATA, False)]),
    "4 disks went on 2026-03-01, budget 3": (ALWAYS, [(f"p-00{n}", n / 10, SATA, True) for n in range(1, 5)]),
}


@pytest.mark.parametrize("words", WRONG)
def test_each_wrong_deletion_is_red(played: Played, words: str) -> None:
    (since, until), removals = WRONG[words]
    for name in {name for name, *_ in removals}:
        played.surplus(name, since, until)
    for name, minute, kind, known in removals:
        played.removal(name, minute, kind, known)
    [complaint] = played.verdict()
    assert words in complaint


def test_the_world_of_a_soak_has_pools_of_every_kind() -> None:
    live: World = world(300)[0]
    [project] = live["projects"].values()
    assert {pool["name"][0] for pool in project["pools"].values()} == set("pmuh")
