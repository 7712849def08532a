"""``python -m tests.soak --minutes 30``: rounds over 300 pools with faults, kills and edits.

Ends red on any deletion outside policy, budget or windows, and on any that was made twice.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from reconciler import sandbox
from reconciler.errors import ExitCode
from reconciler.journal.store import find_journal
from reconciler.sandbox import seed
from tests.flows.conftest import bare
from tests.flows.serving import Served
from tests.soak.judge import complaints
from tests.soak.stage import HEAD, KEPT, WAVERING, Manifests, policy, serving, world

EVERY = 3
"""Seconds between two rounds: longer than any writer rests."""


LIFE = (40.0, 120.0)
"""Seconds after which the watch is killed."""
RESTS = (10.0, 40.0)
"""Seconds between two edits, and between two runs by hand."""


@dataclass
class Lives:
    """The watch, killed and begun again, and what it cost."""

    folder: Path
    env: dict[str, str]
    log: Path
    kills: int = 0
    lives: int = 0
    cpu: float = 0.0
    """Seconds of all lives that have ended."""
    resident: list[int] = field(default_factory=list)
    """MB, sample by sample."""
    files: list[int] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Start the watch."""
        words = ["watch", "manifests", "--correct", "--every", f"{EVERY}s", "--health-port", "0"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "reconciler", *words],
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.lives += 1

    def end(self, number: signal.Signals) -> None:
        """End it in this way, and count what it cost."""
        assert self.process
        os.kill(self.process.pid, number)
        self.kills += number is signal.SIGKILL
        self.ended(0)

    def ended(self, how: int = os.WNOHANG) -> int | None:
        """Count what it cost if it has ended; its exit code, or None while it lives."""
        assert self.process
        pid, status, used = os.wait4(self.process.pid, how)
        if not pid:
            return None
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu += used.ru_utime + used.ru_stime
        return self.process.returncode

    def sample(self) -> None:
        """Note memory and open files, where the system says."""
        assert self.process
        with suppress(OSError):
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            if found := re.search(r"VmRSS:\s+(\d+) kB", status):
                self.resident.append(int(found[1]) // 1024)
            self.files.append(len(os.listdir(f"/proc/{self.process.pid}/fd")))

    def rounds(self) -> int:
        """How many rounds have ended."""
        return len(re.findall(r"^\d{4}-\d\d-\d\d .* UTC  ", self.log.read_text(errors="replace"), re.M))


def main() -> int:
    """Run it; returns 1 when anything went that had to stay."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--pools", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng, budget = random.Random(asked.seed), 20 * asked.minutes
    live, names = world(asked.pools)
    opened = datetime.now(UTC).replace(second=0, microsecond=0)
    with tempfile.TemporaryDirectory() as temporary, serving(live, rng) as (served, faults):
        folder = Path(temporary)
        manifests = Manifests(folder / "manifests", random.Random(asked.seed + 1), names)
        manifests.write_all(policy(budget, asked.minutes, opened))
        journal = folder / "journal.db"
        env = bare(folder) | served.env | {"RECONCILER_JOURNAL": f"sqlite:///{journal}"}
        lives = Lives(folder, env, folder / "watch.log")
        over = threading.Event()
        work: list[Callable[[], None]] = [manifests.edit, lambda: _by_hand(served, folder, env, rng)]
        # Between two edits there are rounds that find the files settled: others correct nothing.
        threads = [threading.Thread(target=_again, args=(each, over, RESTS)) for each in work]
        lives.begin()
        for thread in threads:
            thread.start()
        found = _live(lives, rng, time.monotonic() + 60 * asked.minutes, lambda: _give(served, names, rng))
        over.set()
        for thread in threads:
            thread.join()
        kept = find_journal(f"sqlite:///{journal}", lambda: datetime.now(UTC))
        assert kept
        wrong, gone = complaints(served.world(), manifests, kept, budget, opened)
        found += wrong
        kept.close()
        log = lives.log.read_text(errors="replace")
        found += ["a traceback was printed"] if "Traceback" in log else []
        rounds = lives.rounds()
        print(
            f"{asked.minutes} minutes, {asked.pools} pools, seed {asked.seed}: {rounds} rounds in {lives.lives} lives"
        )
        print(f"{lives.kills} kills, {faults.done} faults, {manifests.edits} slow edits")
        print(f"deleted: {gone['p']} by the watch (budget {budget} a day), {gone['h']} by hand")
        print(f"RSS {_range(lives.resident)} MB, open files {_range(lives.files)}")
        print(f"CPU {lives.cpu / max(rounds, 1):.2f} s a round, start-ups included")
        size = journal.stat().st_size / 1024
        print(f"journal {size:.0f} kB, {size / max(rounds, 1):.1f} kB a round")
        found += ["no round ended"] if not rounds else []
        found += ["nothing was corrected"] if not gone["p"] else []
        print(
            "\n".join(f"RED: {each}" for each in found)
            or "green: nothing outside policy, budget, windows, or twice"
        )
        if found:
            print("\n".join(log.splitlines()[-30:]))
        return int(bool(found))


def _live(lives: Lives, rng: random.Random, until: float, give: Callable[[], None]) -> list[str]:
    """Let the watch live, be killed and begin again, until the time is over; how it ended by itself."""
    found: list[str] = []
    dies = time.monotonic() + rng.uniform(*LIFE)
    while time.monotonic() < until:
        time.sleep(1)
        lives.sample()
        if rng.random() < 0.3:
            give()
        if (code := lives.ended()) is not None:
            # A first round that finds half a manifest ends it, as a supervisor sees; anything else is wrong.
            found += [f"the watch ended by itself, with {code}"] if code != ExitCode.BAD_INPUT else []
            lives.begin()
        elif time.monotonic() > dies:
            lives.end(rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
            lives.begin()
            dies = time.monotonic() + rng.uniform(*LIFE)
    if lives.ended() is None:
        lives.end(signal.SIGTERM)
    return found


def _again(work: Callable[[], None], over: threading.Event, rests: tuple[float, float]) -> None:
    rng = random.Random(str(rests))
    while not over.wait(rng.uniform(*rests)):
        work()


def _give(served: Served, names: list[list[str]], rng: random.Random) -> None:
    """Somebody adds the wavering disk to a pool that has none."""
    name = rng.choice(rng.choice(names))
    _with(served, name, rng)


def _with(served: Served, name: str, rng: random.Random) -> None:
    kind, size = WAVERING
    with served.store.changing(time.time()) as live:
        pools = live["projects"][sandbox.PROJECT_ID]["pools"].values()
        pool = next(each for each in pools if each["name"] == name)
        if any(disk["type"] == kind for disk in pool["disks"]) or pool["status"] != "STEADY":
            return
        disk = seed.pool(name, [WAVERING], 0, 0)["disks"][0] | {"id": f"{rng.getrandbits(128):032x}"}
        pool["disks"].append(disk)
        for desktop in pool["desktops"]:
            desktop["copies"].append({"disk": disk["id"], "type": kind, "size": size, "created": time.time()})


def _by_hand(served: Served, folder: Path, env: dict[str, str], rng: random.Random) -> None:
    """A person removes the wavering disk of a pool of their own, on the same journal."""
    name = f"h-{rng.randrange(5)}"
    _with(served, name, rng)
    disks = ", ".join(f"{{type: {kind}, size: {size}}}" for kind, size in KEPT)
    path = folder / "by-hand.yaml"
    path.write_text(f"{HEAD}pools:\n  - {{name: {name}, apply_to: all, disks: [{disks}]}}\n")
    words = [sys.executable, "-m", "reconciler", "apply", str(path), "--auto-approve"]
    subprocess.run(words, cwd=folder, env=env, capture_output=True, stdin=subprocess.DEVNULL, check=False)


def _range(samples: list[int]) -> str:
    return f"{samples[0]} at first, {max(samples)} at most, {samples[-1]} at last" if samples else "not known"


if __name__ == "__main__":
    sys.exit(main())
