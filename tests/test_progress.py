"""What a run shows of itself while it works: bars, lines and a heartbeat."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from reconciler.apply.events import Phase, PoolMoved, RunBegan, Share
from reconciler.cli.live import Live
from reconciler.cli.progress import MOST_POOLS, Progress, clock_words, until_words

NOON = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
SHARES = (Share("1", "finance-analysts", 2, 12), Share("2", "call-centre", 1, 3))


class Moment(SimpleNamespace):
    seconds: float = 0.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)


def progress(*events: RunBegan | PoolMoved) -> tuple[Progress, Moment]:
    time = Moment(seconds=0.0)
    made = Progress("Applying", lambda: time.seconds, time.now)
    for event in (RunBegan(SHARES), *events):
        made.saw(event)
    return made, time


def job(pool_id: str = "1", pool: str = "finance-analysts") -> PoolMoved:
    return PoolMoved(pool_id, pool, Phase.JOB, "accepted", NOON + timedelta(minutes=20), f"job-{pool_id}")


def test_a_bar_shows_the_disks_the_desktops_and_the_time() -> None:
    made, time = progress(job())
    time.seconds = 42.0
    made.jobs({"job-1": 9, "of somebody else": 4})
    assert made.lines(80, 24) == [
        "  finance-analysts  [##--------]  2 disks  3/12 desktops   job runs   0:42",
        "Applying: 0/2 pools, 0/3 disks, 0:42",
    ]
    assert made.lines(100, 24)[0].endswith("  0:42  until 12:20 UTC")
    made.saw(PoolMoved("1", "finance-analysts", Phase.PROVING))
    assert "[##########]  2 disks  12/12 desktops  proving" in made.lines(80, 24)[0]
    made.saw(PoolMoved("1", "finance-analysts", Phase.ENDED, "done: all", done=2))
    assert made.lines(80, 24) == ["Applying: 1/2 pools, 2/3 disks, 0:42"]


def test_a_job_of_a_next_call_begins_with_an_empty_bar() -> None:
    made, _ = progress(job())
    made.jobs({"job-1": 1})
    made.saw(PoolMoved("1", "finance-analysts", Phase.JOB, "accepted", job_id="job-9"))
    assert "desktops" not in made.lines(80, 24)[0]


@pytest.mark.parametrize("width", [20, 40, 59, 60, 80, 200])
@pytest.mark.parametrize(
    "name", ["p", "a-name-of-a-pool-that-is-longer-than-any-terminal" * 3, "財務部門の分析者" * 5]
)
def test_no_line_is_wider_than_the_terminal(width: int, name: str) -> None:
    made, time = progress(PoolMoved("9", name, Phase.WAITING, "busy", NOON), job())
    time.seconds = 4000.0
    made.waiting("show pool", "the budget of 100 requests a minute", None)
    made.jobs({"job-1": 3})
    for line in made.lines(width, 24):
        assert len(line) + sum(each > "\u2e80" for each in line) < width
    assert any("財" in line for line in made.lines(width, 24)) or "財" not in name


def test_more_pools_than_fit_are_counted() -> None:
    made, _ = progress(*(job(str(number), f"pool-{number}") for number in range(30)))
    lines = made.lines(80, 24)
    assert (len(lines), lines[-2]) == (MOST_POOLS + 2, "  and 20 more pools")
    assert len(made.lines(80, 6)) <= 6
    assert made.heartbeat().endswith("and 20 more")


def test_a_heartbeat_says_how_far_everything_is_and_until_when() -> None:
    made, time = progress(job(), PoolMoved("2", "call-centre", Phase.CHECKING))
    made.jobs({"job-1": 5})
    time.seconds = 61.0
    assert made.heartbeat() == (
        "Applying: 0 of 2 pools, 0 of 3 disks, 1:01; finance-analysts job runs, 7 of 12 desktops, until 12:20:00 UTC "
        "at the latest; call-centre checking"
    )


def test_a_wait_is_said_once_and_again_when_there_is_another() -> None:
    made, time = progress()
    until = NOON + timedelta(seconds=70)

    def said() -> Iterator[str]:
        for seconds in (0.0, 1.0, 69.0, 71.0):
            time.seconds = seconds
            yield made.waiting("show pool", "the service, which answered 429", until)

    words = "waiting for the service, which answered 429, for show pool, until 12:01:10 UTC at the latest"
    assert list(said()) == [words, "", "", words]
    time.seconds = 60.0
    assert "until 12:01:10 UTC" in made.heartbeat()
    time.seconds = 71.0
    assert "waiting" not in made.heartbeat()


def test_a_wait_for_the_budget_is_shown_until_all_have_got_on_and_said_once_a_minute() -> None:
    made, time = progress()
    said = []
    for time.seconds, what in (
        (0.0, "the budget"),
        (1.0, "the budget"),
        (2.0, ""),
        (3.0, "the budget"),
        (61.0, ""),
    ):
        until = time.now() + timedelta(seconds=0.6) if what else None
        said.append(made.waiting("show pool", what, until))
        assert ("  waiting for the budget" in "\n".join(made.lines(80, 24))) is bool(what)
    assert said == ["waiting for the budget, for show pool, until 12:00:00 UTC at the latest", "", "", "", ""]
    assert made.waiting("show pool", "the budget", time.now())
    made.waiting("show pool", "", None)
    assert made.waiting("show pool", "the budget", time.now() + timedelta(seconds=90)), (
        "it ends in more than a minute"
    )


def test_what_is_not_part_of_the_run_is_shown_and_not_counted() -> None:
    """An operation of an earlier run, which is resolved before the plan is made."""
    made, _ = progress(PoolMoved("7", "research", Phase.CHECKING))
    assert "research" in made.lines(80, 24)[0]
    made.saw(PoolMoved("7", "research", Phase.ENDED, "resolved: done", done=1))
    assert made.lines(80, 24) == ["Applying: 0/2 pools, 0/3 disks, 0:00"]


def test_times_are_those_of_a_clock() -> None:
    assert [clock_words(each) for each in (-1.0, 0.4, 62.0, 3599.9, 3600.0)] == [
        "0:00", "0:00", "1:02", "59:59", "1:00:00",
    ]  # fmt: skip
    assert until_words(None) == ""


def test_a_log_gets_a_heartbeat_a_minute_after_its_latest_line(capfd: pytest.CaptureFixture[str]) -> None:
    seconds, said = [0.0], list[str]()
    live = Live(now=lambda: seconds[0])
    live.begin("Applying", said.append)
    counts = []
    for seconds[0] in (59.0, 60.0, 61.0):
        live.tick()
        counts.append(len(said))
    assert counts == [0, 1, 2]  # what is said goes through the console, which was left out here
    live.above("a change of state\n")
    for seconds[0] in (62.0, 120.0, 121.0):
        live.tick()
        counts.append(len(said))
    assert counts[3:] == [2, 2, 3]
    live.end()
    seconds[0] = 1000.0
    live.tick()
    assert len(said) == 3
    assert capfd.readouterr().err == "a change of state\n"


def test_a_display_that_fails_stops_nothing() -> None:
    live = Live(now=lambda: 60.0 if live.progress else 0.0)

    def fails(_line: str) -> None:
        raise ValueError("no line")

    live.begin("Applying", fails)
    live.tick()
    live.end()
