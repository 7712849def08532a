"""Answers made to fill memory and time: a plan stays within 512 MB and 10 s of computing, and hears SIGTERM."""

from __future__ import annotations

import json
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from reconciler import sandbox
from tests.flows import forks
from tests.flows.conftest import Run, bare, manifest
from tests.flows.serving import listening

MEMORY = 512 * 1024 * 1024
"""Bytes of address space, which is more than what is used of it."""
SECONDS = 10
"""Of computing; whoever uses more is killed."""
ENOUGH = 100
"""Seconds after which a process that should have ended counts as one that hangs."""

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


NO_JOBS = b'{"total_count":0,"jobs":[]}'


@dataclass
class Hostile:
    """Answers everything with a success: bodies by the last part of the path, no job, and else an empty object."""

    bodies: dict[str, bytes]
    asked: dict[str, threading.Event] = field(default_factory=dict)

    async def __call__(self, scope: Scope, _receive: object, send: Send) -> None:
        name = scope["path"].rsplit("/", 1)[-1]
        body = self.bodies.get(name, NO_JOBS if name == "workspace-sub-jobs" else b"{}")
        headers = [(b"content-length", str(len(body)).encode()), (b"x-reconciler-sandbox", b"hostile")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        if name in self.asked:
            self.asked[name].set()


def pool(**more: object) -> dict[str, object]:
    """A pool that is as it should be, with one surplus disk."""
    disks = [{"id": "a", "type": "SAS", "size": 50}, {"id": "b", "type": "SSD", "size": 100}]
    return {
        "id": "p",
        "name": "p",
        "status": "STEADY",
        "charging_mode": "1",
        "desktop_count": 1,
        "data_volumes": disks,
    } | more


def page(items: str, total: int, key: str = "desktop_pools") -> bytes:
    return f'{{"total_count": {total}, "{key}": [{items}]}}'.encode()


def pools(**more: object) -> dict[str, bytes]:
    return {"desktop-pools": page(json.dumps(pool(**more)), 1)}


def disks(number: int) -> dict[str, bytes]:
    return pools(data_volumes=[{"id": f"d{each}", "type": "SAS", "size": 10} for each in range(number)])


def desktops(items: str, total: int) -> dict[str, bytes]:
    return pools() | {"desktops": page(items, total, "pool_desktops")}


COPY = '{"type":"SSD","size":100,"desktop_pool_disk_id":"b"}'
ANSWERS: dict[str, tuple[Callable[[], dict[str, bytes]], int, str]] = {
    "1,500 disks": (lambda: disks(1_500), 3, "1500 disks, and no pool can have more than 10"),
    "300,000 disks": (lambda: disks(300_000), 3, "300000 disks, and no pool can have more than 10"),
    "a million pools counted": (
        lambda: {"desktop-pools": page(json.dumps(pool()), 1_000_000)},
        1,
        "the service counts 1000000 pools",
    ),
    "a million pools at once": (
        lambda: {"desktop-pools": page(",".join(['{"id":"p"}'] * 1_000_000), 1_000_000)},
        1,
        "the service counts 1000000 pools",
    ),
    "a million pools under another count": (
        lambda: {"desktop-pools": page(",".join(['{"id":"p"}'] * 1_000_000), 1_000)},
        1,
        "items came at once, at most 1000 were asked for",
    ),
    "pools that are nothing": (
        lambda: {"desktop-pools": page(",".join(["0"] * 8_000_000), 1_000)},
        1,
        "list pools",
    ),
    "a huge name": (lambda: pools(description="x" * 15_000_000, name="p" * 1_000), 3, "no pool has the name"),
    "a huge text of four bytes each": (
        lambda: {"desktop-pools": json.dumps(
            {"total_count": 1, "desktop_pools": [pool(status="\U0001f600" + "x" * 15_000_000)]},
            ensure_ascii=False).encode()},
        3,
        "pool-state",
    ),
    "deep nesting": (
        lambda: {"desktop-pools": page('{"id":"p","new":' + "[" * 5_000_000 + "]" * 5_000_000 + "}", 1)},
        1,
        "not well-formed",
    ),
    "an error that is none": (
        lambda: {"desktop-pools": b'{"error_code":"","new":[' + b",".join([b"{}"] * 4_000_000) + b"]}"},
        1,
        "list pools",
    ),
    "a million desktops counted": (
        lambda: desktops('{"desktop_id":"d"}', 1_000_000),
        1,
        "counts 1000000 desktops",
    ),
    "a million desktops": (
        lambda: desktops(",".join(['{"desktop_id":"d"}'] * 800_000), 100),
        3,
        "doubtful-reading",
    ),
    "a million copies on a desktop": (
        lambda: desktops(f'{{"desktop_id":"d","data_volumes":[{",".join([COPY] * 250_000)}]}}', 1),
        3,
        "doubtful-reading",
    ),
}  # fmt: skip


POOL = "{name: p, apply_to: all, disks: [{type: SAS, size: 50}]}"


def credentials(url: str) -> dict[str, str]:
    return {
        "RECONCILER_ENDPOINT": url,
        "HUAWEICLOUD_SDK_AK": sandbox.ACCESS_KEY,
        "HUAWEICLOUD_SDK_SK": sandbox.SECRET_KEY,
    }


def planned(run: Run, folder: Path, app: Hostile, *more: str) -> tuple[int, str]:
    """The exit code of a plan of the one pool, and of more, and all it said; for answers that are small."""
    with listening(app) as url:
        ran = run("plan", str(manifest(folder, [POOL, *more])), env=credentials(url))
    return ran.code, ran.out + ran.err


@dataclass(frozen=True)
class Planning:
    """A plan that runs, and where its output goes."""

    process: BaseProcess
    output: Path

    def ended(self) -> tuple[int | None, str]:
        """The exit code and all it said, once it has ended."""
        self.process.join(ENOUGH)
        return self.process.exitcode, self.output.read_text()


@contextmanager
def planning(folder: Path, app: Hostile) -> Iterator[Planning]:
    """A plan of the one pool, as a process that may use no more than the promise says; its waits are skipped."""
    command = (forks.limited, MEMORY, SECONDS, "plan", str(manifest(folder, [POOL])))
    with listening(app) as url:
        output = folder / "output"
        process = forks.start(*command, folder=folder, env=bare(folder) | credentials(url), output=output)
        try:
            yield Planning(process, output)
        finally:
            process.kill()
            process.join()


@pytest.mark.parametrize("name", ANSWERS)
def test_a_plan_of_a_hostile_answer_ends_with_its_reason_within_memory_and_time(
    tmp_path: Path, name: str
) -> None:
    bodies, expected, words = ANSWERS[name]
    with planning(tmp_path, Hostile(bodies())) as plan:
        code, out = plan.ended()
    assert code == expected, out[-3000:]
    assert words in out, out[-3000:]
    assert "Traceback" not in out


@pytest.mark.parametrize("name", ["300,000 disks", "a million pools under another count"])
def test_a_plan_of_a_hostile_answer_hears_sigterm(tmp_path: Path, name: str) -> None:
    asked = threading.Event()
    with planning(tmp_path, Hostile(ANSWERS[name][0](), {"desktop-pools": asked})) as plan:
        assert asked.wait(ENOUGH)
        plan.process.terminate()
        code, out = plan.ended()
    # Whoever had ended already could not hear it any more.
    assert code in (143, ANSWERS[name][1]), out[-3000:]


@pytest.mark.parametrize(
    "name", [b'"Caf\xff"', b"7", b'["p"]', b"null"], ids=["latin", "number", "list", "null"]
)
def test_a_pool_whose_name_is_no_text_is_blocked_alone(run: Run, tmp_path: Path, name: bytes) -> None:
    odd = json.dumps(pool(id="odd", name="NAME")).encode().replace(b'"NAME"', name)
    body = b'{"total_count":2,"desktop_pools":[' + odd + b"," + json.dumps(pool()).encode() + b"]}"
    desktop = f'{{"desktop_id":"d","data_volumes":[{COPY}]}}'
    jobs = b'{"total_count":0,"jobs":[]}'
    app = Hostile(
        {
            "desktop-pools": body,
            "desktops": page(desktop, 1, "pool_desktops"),
            "workspace-sub-jobs": jobs,
        }
    )
    code, out = planned(run, tmp_path, app, "{id: odd, disks: [{type: SAS, size: 50}]}")
    good = name == b"null"  # left out, as the schema allows
    assert code == (0 if good else 3), out[-3000:]
    assert f"{2 if good else 1} to destroy" in out
    assert out.count("doubtful-reading") == (0 if good else 1)
    assert "Traceback" not in out


def test_what_was_not_read_of_a_pool_is_no_finding_of_its_own(run: Run, tmp_path: Path) -> None:
    disks = [{"id": f"d{number}", "type": "SAS", "size": 50} for number in range(11)]
    body = json.dumps({"total_count": 1, "desktop_pools": [pool(data_volumes=disks)]}).encode()
    app = Hostile({"desktop-pools": body, "workspace-sub-jobs": b'{"total_count":0,"jobs":[]}'})
    code, out = planned(run, tmp_path, app)
    assert code == 3, out[-3000:]
    assert "11 disks, and no pool can have more than 10" in out
    assert "Blocked by 1 finding" in out
    assert "pay-per-use" not in out
