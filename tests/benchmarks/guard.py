"""Fails when a command costs more instructions or requests than it may: ``python -m tests.benchmarks.guard [write]``.

Instructions are counted by valgrind and requests by the service, so neither depends on how busy the machine is.
Seconds would. ``bounds.json`` has the bounds; ``write`` sets them anew, for a change that is worth its cost.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.__main__ import environment, served

BOUNDS = Path(__file__).with_name("bounds.json")
GUARDED = {
    "plan of 3 pools without change": ("plan", 3),
    "plan of 2000 pools without change": ("plan", 2000),
    "validate of 3 pools": ("validate", 3),
}
"""Each command with how many pools there are."""
MARGIN = 1.05
"""What other versions of the same Python and its libraries may cost beyond what was measured."""
_COUNTED = re.compile(r"Collected : (\d+)")


def millions(command: Sequence[str], env: dict[str, str]) -> int:
    """Instructions of one process, in millions."""
    counting = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command]
    done = subprocess.run(counting, env=env, capture_output=True, text=True, check=False)
    found = _COUNTED.search(done.stderr)
    if done.returncode or not found:
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return round(int(found[1]) / 1e6)


def measured(name: str, pools: int) -> dict[str, int]:
    """What a command about so many pools costs; the second run counts, the first compiles."""
    with tempfile.TemporaryDirectory() as home, served(pools) as service:
        # The order of a set must not decide what a run costs.
        env = environment(service) | {"HOME": home, "PYTHONHASHSEED": "0"}
        command = [sys.executable, "-m", "reconciler", name, str(service.manifests)]
        subprocess.run(command, env=env, capture_output=True, check=True)
        service.requests()
        return {"million_instructions": millions(command, env), "requests": service.requests()}


def above(found: dict[str, dict[str, int]], bounds: dict[str, dict[str, int]]) -> list[str]:
    """What costs more than it may, in words; pure."""
    return [
        f"{name}: {found[name][what]:,} {what.replace('_', ' ')}, at most {most:,} allowed"
        for name, each in bounds.items()
        for what, most in each.items()
        if found[name][what] > most
    ]


def main(words: Sequence[str]) -> int:
    """Measure, and compare or write; returns the exit code."""
    if not shutil.which("valgrind"):
        print("valgrind is missing; .ci/system-packages valgrind installs it", file=sys.stderr)
        return 2
    found = {what: measured(*command) for what, command in GUARDED.items()}
    for name, each in found.items():
        print(f"{name}: {each['million_instructions']:,} million instructions, {each['requests']} requests")
    if "write" in words:
        bounds = {
            name: each | {"million_instructions": round(each["million_instructions"] * MARGIN)}
            for name, each in found.items()
        }
        BOUNDS.write_text(json.dumps(bounds, indent=2) + "\n", encoding="utf-8")
        return 0
    for line in (too_much := above(found, json.loads(BOUNDS.read_text(encoding="utf-8")))):
        print(f"too much: {line}", file=sys.stderr)
    return 1 if too_much else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
