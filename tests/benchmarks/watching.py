"""What ``watch`` costs a round, and whether its memory grows: ``python -m tests.benchmarks.watching [POOLS] [ROUNDS]``.

One process watches pools that do not change; a hang-up begins the next round as soon as one has ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.__main__ import environment, served

POOLS, ROUNDS = 10_000, 50
SETTLED = 5
"""Rounds after which a round costs what each further one does: the first ones warm up."""
SHOWN_EVERY = 10
"""Rounds between two looks at the memory."""
ROUND = " UTC  "
"""What the line of a round has after its time."""


@dataclass(frozen=True, slots=True)
class Used:
    """What a process has used until now."""

    cpu: float
    """Seconds, user and system."""
    memory: int
    """Bytes resident now."""

    @classmethod
    def by(cls, pid: int) -> Used:
        """Read it from the kernel."""
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        return cls(ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))


def watched(pools: int, rounds: int) -> list[Used]:
    """What the process had used at the end of each round."""
    with tempfile.TemporaryDirectory() as folder, served(pools) as service:
        env = environment(service) | {"RECONCILER_JOURNAL": f"sqlite:///{folder}/journal.db"}
        command = [sys.executable, "-u", "-m", "reconciler", "watch", "--every", "1h", str(service.manifests)]
        found: list[Used] = []
        with subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout
            for line in process.stdout:
                if ROUND not in line:
                    continue
                found.append(Used.by(process.pid))
                if len(found) == rounds:
                    break
                process.send_signal(signal.SIGHUP)
            process.terminate()
            process.stdout.read()
        return found


def main(pools: int = POOLS, rounds: int = ROUNDS) -> None:
    """Measure and print."""
    found = watched(pools, rounds)
    settled, last = found[min(SETTLED, len(found)) - 1], found[-1]
    each = (last.cpu - settled.cpu) / max(len(found) - SETTLED, 1)
    seen = range(SHOWN_EVERY, len(found) + 1, SHOWN_EVERY)
    memory = "".join(f" {found[at - 1].memory / 1e6:.0f} MB |" for at in seen)
    heads = "".join(f" memory after {at} |" for at in seen)
    print(f"| pools | rounds | CPU of the first | CPU of each further one |{heads}")
    print(f"|---:|---:|---:|---:|{'---:|' * len(seen)}")
    print(f"| {pools:,} | {len(found)} | {found[0].cpu:.2f} s | {each:.2f} s |{memory}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
