"""``watch`` as a process: rounds that go on whatever comes, probes, news, and an end within seconds."""

from __future__ import annotations

import json
import re
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reconciler import sandbox
from reconciler.journal.store import open_journal
from reconciler.sandbox import seed
from tests.flows import started
from tests.flows.conftest import Run, bare, manifest
from tests.flows.rounds import come, noticing, watched
from tests.flows.serving import Served, listening, serving
from tests.flows.skipping import TIME

ONE_SSD = "{name: p, apply_to: all, disks: [{type: SSD, size: 100}]}"
ALL_DAYS = "days: [mon, tue, wed, thu, fri, sat, sun], timezone: UTC"
POLICY = (
    "drift: {correct: [remove], disks_per_day: 5, windows: ["
    f"{{{ALL_DAYS}, start: '00:00', end: '12:00'}}, {{{ALL_DAYS}, start: '12:00', end: '00:00'}}]}}"
)


ROUND = re.compile(r"^\d{4}-\d\d-\d\d .* UTC  ", re.M)
"""How each round begins."""


class Watching:
    """One running ``watch`` and what it has said so far."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def said(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def rounds(self) -> int:
        return len(ROUND.findall(self.said))

    def until(self, what: Callable[[], object]) -> None:
        """Wait for something that must come; five minutes are far more than it takes."""
        deadline = time.monotonic() + 300
        while not what():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)

    def url(self, path: str) -> str:
        self.until(lambda: "Health: " in self.said)
        found = re.search(r"Health: (http://\S+)/healthz", self.said)
        assert found
        return found[1] + path

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


@contextmanager
def watching(
    folder: Path, served: Served, *arguments: str, env: Mapping[str, str] | None = None
) -> Iterator[Watching]:
    log = folder / "watch.log"
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [*started.command(), "watch", *arguments],
            cwd=folder,
            env=bare(folder) | served.env | dict(env or {}),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        yield Watching(process, log)
    finally:
        process.kill()
        process.wait()
        assert "Traceback" not in log.read_text(encoding="utf-8")


@pytest.fixture
def service() -> Iterator[Served]:
    """One pool with one surplus disk."""
    with serving(seed.world("watch", [seed.pool("p", [("SAS", 50), ("SSD", 100)], 3, 2)])) as found:
        yield found


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_rounds_follow_each_other_and_a_term_signal_ends_them_with_zero(
    service: Served, tmp_path: Path
) -> None:
    ran = watched(tmp_path, service, str(manifest(tmp_path, [ONE_SSD])), rounds=3)
    assert ran.code == 0
    assert len(ROUND.findall(ran.out)) == 3
    assert "Stopped; no change was in progress." in ran.err
    assert ran.out.count("SAS 50 GB live, not declared") == 1  # rounds alike take one line
    assert ran.err.count("Read 1 file, 1 pool and 0 limits from") == 1
    assert service.posts() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_long_wait_at_once(service: Served, tmp_path: Path, number: signal.Signals) -> None:
    path = manifest(tmp_path, [ONE_SSD])
    with watching(tmp_path, service, str(path), "--every", "2d") as running:
        running.until(lambda: running.rounds() == 1)
        assert running.end(number) == 0


def test_probe_and_scrape_tell_the_last_round(service: Served, tmp_path: Path) -> None:
    path, file = manifest(tmp_path, [ONE_SSD]), tmp_path / "drift.prom"
    told = ("--health-port", "0", "--prometheus", str(file))
    with watching(tmp_path, service, str(path), "--every", "1h", *told) as running:
        running.until(lambda: running.rounds() == 1 and file.exists())
        status, text = get(running.url("/healthz"))
        assert (status, "Drift in 1 of 1 pool" in text) == (200, True)
        status, text = get(running.url("/metrics?name=x"))
        assert (status, text) == (200, file.read_text(encoding="utf-8"))
        families = {each.name: each.samples[0].value for each in text_string_to_metric_families(text)}
        assert families["reconciler_pool_surplus_disks"] == 1
        assert get(running.url("/"))[0] == 404
        assert running.url("").startswith("http://127.0.0.1:")


def test_a_client_that_stays_connected_does_not_keep_it_from_ending(service: Served, tmp_path: Path) -> None:
    path = manifest(tmp_path, [ONE_SSD])
    with watching(tmp_path, service, str(path), "--every", "1h", "--health-port", "0") as running:
        running.until(lambda: running.rounds() == 1)
        port = int(running.url("").rpartition(":")[2])
        with (
            socket.create_connection(("127.0.0.1", port)),
            socket.create_connection(("127.0.0.1", port)) as half,
        ):
            half.sendall(b"GET /healthz HTTP/1.1\r\n")
            assert running.end() == 0
        assert running.said.rstrip().endswith("Stopped; no change was in progress.")


def test_a_watch_whose_rounds_do_not_end_is_unhealthy(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        dead = Served(f"http://127.0.0.1:{silent.getsockname()[1]}", None, None)  # type: ignore[arg-type]
        arguments = (str(manifest(tmp_path, [ONE_SSD])), "--every", "1s", "--health-port", "0")
        with watching(tmp_path, dead, *arguments) as running:
            running.until(lambda: get(running.url("/healthz"))[0] == 503)
            assert "the first round has not ended yet" in get(running.url("/healthz"))[1]
            assert running.end() == 0


def test_a_service_that_fails_is_told_and_the_next_round_comes(service: Served, tmp_path: Path) -> None:
    path = manifest(tmp_path, [ONE_SSD])
    with watching(tmp_path, service, str(path), "--every", "1s", "--health-port", "0") as running:
        running.until(lambda: running.rounds() >= 1)
        path.write_text("version: 1\nno manifest: any more\n", encoding="utf-8")
        running.until(lambda: "Drift could not be determined" in running.said)
        running.until(lambda: "pools.yaml:2" in running.said)
        running.until(lambda: get(running.url("/healthz"))[0] == 200)
        assert "reconciler_drift_last_exit_code 9.0" in get(running.url("/metrics"))[1]
        manifest(tmp_path, ["{name: p, disks: [{type: SSD, size: 100}, {type: SAS, size: 50}]}"])
        running.until(lambda: "No drift: 1 pool checked" in running.said)


def test_webhooks_hear_of_changes_and_not_of_every_round(service: Served, tmp_path: Path) -> None:
    got: list[dict[str, object]] = []

    async def take(request: Request) -> Response:
        got.append(json.loads(await request.body()))
        return Response()

    codes = list[list[object]]()

    async def between(ended: int) -> None:
        await come(lambda: len(got) >= (1 if ended < 6 else 2))
        codes.append([each["exit_code"] for each in got])
        if ended == 3:  # what is new is believed when it has been found twice
            manifest(tmp_path, ["{name: p, disks: [{type: SSD, size: 100}, {type: SAS, size: 50}]}"])

    with listening(Starlette(routes=[Route("/hook", take, methods=["POST"])])) as url:
        arguments = (str(manifest(tmp_path, [ONE_SSD])), "--webhook", f"{url}/hook")
        watched(tmp_path, service, *arguments, rounds=8, between=between)
    assert got[0]["sandbox"] is True
    assert (codes[2], codes[-1]) == ([2], [2, 0])


def test_a_webhook_that_is_down_changes_nothing_but_a_line(service: Served, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        hook = f"http://127.0.0.1:{taken.getsockname()[1]}/T0PSECRET"
        path = manifest(tmp_path, [ONE_SSD])
        with watching(tmp_path, service, str(path), "--every", "1s", "--webhook", hook) as running:
            running.until(lambda: running.rounds() >= 2)
            line = "Warning: the webhook http://127.0.0.1/… was not delivered: it cannot be"
            running.until(lambda: line in running.said)
            assert "T0PSECRET" not in running.said
            assert running.end() == 0


def test_a_correction_of_a_watch_is_made_once_and_proven(service: Served, tmp_path: Path) -> None:
    path = manifest(tmp_path, [ONE_SSD], POLICY)
    ran = watched(tmp_path, service, str(path), "--correct", rounds=4)
    assert ran.code == 0
    assert "No drift: 1 pool checked" in ran.out
    assert "Apply complete! 1 change proven" in ran.out
    assert len(service.posts()) == 1


def test_a_stop_during_a_correction_tells_what_is_in_flight(tmp_path: Path, run: Run) -> None:
    world = seed.world("watch", [seed.pool("p", [("SAS", 50), ("SSD", 100)], 3, 2)])
    with serving(world, job_seconds=600) as slow:
        path = manifest(tmp_path, [ONE_SSD], POLICY)
        with watching(tmp_path, slow, str(path), "--every", "1s", "--correct") as running:
            running.until(slow.posts)
            running.until(lambda: "accepted" in running.said)
            assert running.end() == 143
            assert "In flight: p: remove of 1 disk" in running.said
        assert len(slow.posts()) == 1


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--every", "0"), "--every '0' is not a duration"),
        (("--every", "1٠m"), "--every '1٠m' is not a duration"),
        (("--every", "-5m"), "--every '-5m' is not a duration"),
        (("--every", "15"), "--every '15' is not a duration"),
        (("--health-port", "70000"), "health-port"),
        (("--health-port", "0", "--health-address", "192.0.2.1"), "cannot listen on"),
        (("--prometheus", "no/such/place.prom"), "cannot be written"),
        (("--webhook", "http://example.com/T0PSECRET"), "sent unencrypted"),
    ],
)
def test_bad_input_ends_a_watch_before_its_first_round(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], why: str
) -> None:
    ran = run("watch", str(manifest(tmp_path, [ONE_SSD])), "--sandbox", *arguments)
    assert ran.code == 9
    assert why in ran.err
    assert "T0PSECRET" not in ran.err


def test_manifests_that_are_wrong_from_the_start_end_it(run: Run, tmp_path: Path) -> None:
    path = manifest(tmp_path, ["{name: p}"])
    ran = run("watch", str(path), "--sandbox")
    assert ran.code == 9
    assert "pools.yaml:" in ran.err


def test_what_a_webhook_did_not_take_is_told_again_to_it_alone(service: Served, tmp_path: Path) -> None:
    got: dict[str, int] = {"good": 0, "bad": 0}

    async def take(request: Request) -> Response:
        name = request.path_params["name"]
        got[name] += 1
        return Response(status_code=500 if name == "bad" and got[name] < 3 else 200)

    with listening(Starlette(routes=[Route("/{name}", take, methods=["POST"])])) as url:
        path = manifest(tmp_path, [ONE_SSD])
        hooks = ("--webhook", f"{url}/good", "--webhook", f"{url}/bad")
        watched(
            tmp_path, service, str(path), *hooks, rounds=5, between=lambda _: come(lambda: got["bad"] == 3)
        )
    assert got == {"good": 1, "bad": 3}


def test_a_probe_is_answered_while_another_process_holds_the_journal(service: Served, tmp_path: Path) -> None:
    path, file = manifest(tmp_path, [ONE_SSD]), tmp_path / "journal.db"
    journal = f"sqlite:///{file}?timeout=3600"  # the round waits for longer than any test
    open_journal(journal, TIME.now).close()
    arguments = (str(path), "--every", "1h", "--health-port", "0", "--journal", journal)
    with sqlite3.connect(file) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with watching(tmp_path, service, *arguments) as running:
            assert get(running.url("/healthz")) == (200, mock.ANY)
            assert running.rounds() == 0


def test_a_webhook_that_hangs_delays_no_round_and_turns_no_probe_red(service: Served, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        hook = f"http://127.0.0.1:{silent.getsockname()[1]}/hook"
        path = manifest(tmp_path, [ONE_SSD])
        arguments = (str(path), "--every", "1s", "--health-port", "0", "--webhook", hook)
        with watching(tmp_path, service, *arguments) as running:
            running.until(lambda: running.rounds() >= 3)
            assert "was not delivered" not in running.said  # three rounds took less than one delivery
            assert get(running.url("/healthz"))[0] == 200
            assert running.end() == 0


def test_a_hang_up_begins_a_round_that_reads_everything_again(service: Served, tmp_path: Path) -> None:
    path = manifest(tmp_path, [ONE_SSD])
    with watching(tmp_path, service, str(path), "--every", "2d") as running:
        running.until(lambda: running.rounds() == 1)
        manifest(tmp_path, ["{name: p, disks: [{type: SSD, size: 100}, {type: SAS, size: 50}]}"])
        running.process.send_signal(signal.SIGHUP)
        running.until(lambda: "No drift: 1 pool checked" in running.said)
        assert "Hung up: reading everything again." in running.said
        assert running.said.count("Read 1 file, 1 pool and 0 limits from") == 2
        assert running.end() == 0


@pytest.mark.parametrize(("pools", "code"), [([ONE_SSD], 2), (["{name: nobody, disks: []}"], 9)])
def test_once_is_one_round_with_its_exit_code(
    run: Run, service: Served, tmp_path: Path, pools: list[str], code: int
) -> None:
    path, file = manifest(tmp_path, pools), tmp_path / "drift.prom"
    ran = run("watch", str(path), "--once", "--prometheus", str(file), env=service.env)
    assert ran.code == code
    assert file.exists() is (code == 2)


def test_once_corrects_what_the_policy_allows_and_tells_its_webhooks(
    run: Run, service: Served, tmp_path: Path
) -> None:
    got: list[dict[str, object]] = []

    async def take(request: Request) -> Response:
        got.append(json.loads(await request.body()))
        return Response()

    with listening(Starlette(routes=[Route("/hook", take, methods=["POST"])])) as url:
        path = manifest(tmp_path, [ONE_SSD], POLICY)
        ran = run("watch", str(path), "--once", "--correct", "--webhook", f"{url}/hook", env=service.env)
    assert (ran.code, len(service.posts())) == (0, 1)
    assert "Apply complete! 1 change proven" in ran.out
    assert [each["exit_code"] for each in got] == [0]


@pytest.mark.parametrize("targets", [1, 2])
def test_a_target_that_is_throttled_for_rounds_says_since_when_nothing_was_seen_of_it(
    tmp_path: Path, targets: int
) -> None:
    TIME.reset()
    throttled, seen = [False], list[str]()

    def between(ended: int) -> None:
        seen.append((tmp_path / "drift.prom").read_text(encoding="utf-8"))
        throttled[0] = 2 <= ended < 4

    world = seed.world("watch", [seed.pool("p", [("SSD", 100)], 3, 2)])
    with noticing(world, lambda _: None, refuses=lambda: throttled[0]) as served:
        path = manifest(tmp_path, [ONE_SSD])
        if targets == 2:  # another one that nobody answers for
            more = path.read_text(encoding="utf-8").replace(sandbox.REGION, "eu-west-101")
            path.write_text(f"{path.read_text(encoding='utf-8')}---\n{more}", encoding="utf-8")
        arguments = (str(path), "--prometheus", "drift.prom")
        nobody = {"RECONCILER_ENDPOINT_EU_WEST_101": "http://127.0.0.1:1"}
        ran = watched(tmp_path, served, *arguments, rounds=5, between=between, env=nobody)
    rounds = [line for line in ran.out.splitlines() if " UTC  " in line]
    started = [line.partition("  ")[0] for line in rounds]
    mine = f"Nothing was seen of {sandbox.REGION}/{sandbox.PROJECT_ID} since"
    assert [f"{mine} {started[1]}" in line for line in rounds] == [False, False, True, True, False]
    assert [mine in line for line in rounds] == [False, False, True, True, False]
    gauge = "reconciler_target_last_seen_timestamp_seconds"
    times = [
        sample.value
        for text in seen
        for each in text_string_to_metric_families(text)
        for sample in each.samples
        if sample.name == gauge and sample.labels["region"] == sandbox.REGION
    ]
    assert times[0] < times[1] == times[2] == times[3] < times[4]
