"""``python -m tests.benchmarks``: every number of the pages on speed, measured side by side in one run.

Writes a table and a plot into ``tests/benchmarks/results``. Needs the extra ``test`` for the official SDK;
without it those rows are left out, and the table says so.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.sandbox import ACCESS_KEY, PROJECT_ID, SECRET_KEY, TOKEN
from tests.benchmarks.measure import Cost, best, cost
from tests.benchmarks.plot import chart
from tests.benchmarks.server import POOLS_A_FILE

HERE = Path(__file__).parent
RESULTS = HERE / "results"
SIZES = (100, 1000, 10_000, 20_000)
TEN_THOUSAND = 10_000
RUNS = 5
MOST_ONE_BY_ONE = 10_000
"""Pools up to which the SDK asks for each of them: beyond it takes minutes and says nothing new."""

PLAN = "reconciler plan"
FLOOR = "bare httpx and json"
FLOOR_BOTH = "bare httpx, json and PyYAML"
"""The floor of a whole plan: its manifests are read as well."""
SDK_LIST = "official SDK, list alone"
SDK_LOOP = "official SDK, one by one"
SDK_THREADS = "official SDK, 8 threads"


@dataclass(frozen=True, slots=True)
class Served:
    """A simulated service in another process."""

    url: str
    manifests: Path

    def requests(self) -> int:
        """Requests since this was last asked."""
        with urllib.request.urlopen(f"{self.url}/requests", timeout=60) as answer:
            return int(answer.read())


def main() -> None:
    """Measure everything, write the results, and print them."""
    has_sdk = importlib.util.find_spec("huaweicloudsdkworkspace") is not None
    rows: list[tuple[int, str, Cost]] = []
    load_times: list[float] = []
    for size in SIZES:
        with served(size) as service:
            for name, command in contenders(service, size, has_sdk=has_sdk).items():
                runs = 1 if name in (SDK_LOOP, SDK_THREADS) else RUNS
                cost(
                    command, environment(service), service.requests
                )  # the first one warms caches on both sides
                rows.append(
                    (
                        size,
                        name,
                        best([cost(command, environment(service), service.requests) for _ in range(runs)]),
                    )
                )
                print(f"{size:>6} {name}: {rows[-1][2]}", file=sys.stderr)
            if size == TEN_THOUSAND:
                load_times = [inner("load", str(service.manifests)) for _ in range(RUNS)]
    parts = {
        f"manifests of {TEN_THOUSAND:,} pools in {TEN_THOUSAND // POOLS_A_FILE} files, read and checked": min(
            load_times
        ),
        f"{TEN_THOUSAND:,} pools with 4 disks, all different: matched, planned, judged": min(
            inner("match", str(TEN_THOUSAND)) for _ in range(RUNS)
        ),
        **cold_starts(),
    }
    RESULTS.mkdir(exist_ok=True)
    table = markdown(rows, parts, has_sdk=has_sdk)
    (RESULTS / "speed.md").write_text(table, encoding="utf-8")
    lines = {name: [(size, each.wall) for size, who, each in rows if who == name] for _, name, _ in rows}
    plot = chart("Seconds to plan N pools without change", "pools", "seconds", lines)
    (RESULTS / "speed.svg").write_text(plot, encoding="utf-8")
    print(table)


def contenders(service: Served, size: int, *, has_sdk: bool) -> dict[str, list[str]]:
    """The commands to compare, by what the table calls them."""
    sdk = [sys.executable, str(HERE / "official.py"), service.url, PROJECT_ID, ACCESS_KEY, SECRET_KEY]
    bare = [sys.executable, str(HERE / "bare.py"), service.url, PROJECT_ID, TOKEN]
    found = {
        PLAN: [sys.executable, "-m", "reconciler", "plan", str(service.manifests)],
        FLOOR: bare,
        FLOOR_BOTH: [*bare, str(service.manifests)],
    }
    if has_sdk:
        found[SDK_LIST] = [*sdk, "list"]
    if has_sdk and size <= MOST_ONE_BY_ONE:
        found |= {SDK_LOOP: [*sdk, "loop"], SDK_THREADS: [*sdk, "threads"]}
    return found


@contextmanager
def served(pools: int, *stand_in: str) -> Iterator[Served]:
    """Serve so many pools from another process, with manifests that declare them.

    ``stand_in``: milliseconds until an answer and seconds of a job, for manifests with a disk less in each pool.
    """
    with tempfile.TemporaryDirectory() as folder:
        manifests = Path(folder) / "manifests"
        command = [sys.executable, "-m", "tests.benchmarks.server", str(pools), str(manifests), *stand_in]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin
            assert process.stdout
            try:
                yield Served(process.stdout.readline().strip(), manifests)
            finally:
                process.stdin.close()


def environment(service: Served | None = None) -> dict[str, str]:
    """What the commands need, and nothing of the machine's owner."""
    with_service = {"RECONCILER_ENDPOINT": service.url} if service else {}
    return with_service | {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(HERE.parents[1]),
        "RECONCILER_METADATA": "off",
        "HUAWEICLOUD_SDK_AK": ACCESS_KEY,
        "HUAWEICLOUD_SDK_SK": SECRET_KEY,
        "HUAWEICLOUD_SDK_PROJECT_ID": PROJECT_ID,
    }


def inner(*arguments: str) -> float:
    """Seconds that a part of a plan takes, measured in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.inner", *arguments]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    return float(done.stdout)


def cold_starts() -> dict[str, float]:
    """Seconds of whole processes that do little, each the best of many."""
    reconciler = [sys.executable, "-m", "reconciler"]

    def wall(command: list[str], service: Served | None = None) -> float:
        return best([cost(command, environment(service)) for _ in range(4 * RUNS)]).wall

    with served(3) as three:
        return {
            "`python -c pass`, whole process": wall([sys.executable, "-c", "pass"]),
            "`reconciler version`, whole process": wall([*reconciler, "version"]),
            "`reconciler --help`, whole process": wall([*reconciler, "--help"]),
            "`reconciler validate` of three pools, whole process": wall(
                [*reconciler, "validate", str(three.manifests)]
            ),
            "`reconciler plan` of three pools, whole process": wall(
                [*reconciler, "plan", str(three.manifests)], three
            ),
        }


def markdown(rows: list[tuple[int, str, Cost]], parts: dict[str, float], *, has_sdk: bool) -> str:
    """The table that the page on benchmarks shows, and three rows of it the README."""
    lines = [
        "| pools | reading them with | requests | wall | CPU | memory |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    for size, name, each in rows:
        numbers = f"{each.requests:,} | {each.wall:.2f} s | {each.cpu:.2f} s | {each.memory / 1e6:.0f} MB"
        lines.append(f"| {size:,} | {name} | {numbers} |")
    lines += ["", "| part | time |", "|---|---:|"]
    lines += [f"| {name} | {seconds:.3f} s |" for name, seconds in parts.items()]
    missing = (
        "" if has_sdk else " The official SDK was not installed (extra `test`), so its rows are missing."
    )
    lines += [
        "",
        f"The best of {RUNS} whole processes after one that warms up (`one by one` and `threads`: one run), "
        f"Python {platform.python_version()}, {os.cpu_count()} cores shared with the service, "
        f"which answers at once from this machine.{missing}",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
