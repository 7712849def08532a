"""What one whole process costs, as the kernel counts it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one run of a command."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds, user and system."""
    memory: int
    """Most bytes resident."""
    requests: int = 0
    """As the service counted them."""


def cost(command: Sequence[str], env: Mapping[str, str], requests: Callable[[], int] = lambda: 0) -> Cost:
    """Run a command once; raises ``RuntimeError`` with what it printed when it fails."""
    requests()
    start = time.perf_counter()
    process = subprocess.Popen(
        command, env=dict(env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout
    printed = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}:\n{printed}")
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, requests())


def best(costs: Sequence[Cost]) -> Cost:
    """The run that waited least for whatever else the machine was doing."""
    return min(costs, key=lambda each: each.wall)
