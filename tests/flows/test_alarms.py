"""An alarm holds its pool back in every command until a person closes it, by name and for the record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler import sandbox
from reconciler.journal.records import Alarm, PoolKey
from reconciler.journal.store import open_journal
from tests.flows.conftest import FINANCE, STUDIO, Run, manifest
from tests.flows.serving import Served
from tests.flows.skipping import TIME

TARGET = f"{sandbox.REGION}/{sandbox.PROJECT_ID}"
LOST = "disks that had to stay are gone after job j"


def alarmed(served: Served, journal: str, *names: str) -> None:
    """An earlier run has raised an alarm in each of these pools, and ended."""
    opened = open_journal(journal, TIME.now)
    for name in names:
        pool_id = served.pool(name)["id"]
        pool = PoolKey(TARGET, "sandbox:default", pool_id)
        opened.raise_alarm(
            Alarm(f"op-{pool_id}", "run-0", pool, "same" * (len(names) > 1) or name, TIME.now(), LOST)
        )
    opened.close()


@pytest.fixture
def journal(tmp_path: Path) -> str:
    """Where the journal of these tests is."""
    return f"sqlite:///{tmp_path}/journal.db"


def test_an_alarm_holds_its_pool_until_a_person_closes_it(
    run: Run, served: Served, tmp_path: Path, journal: str
) -> None:
    env = served.env | {"RECONCILER_JOURNAL": journal, "RECONCILER_ACTOR": "amara"}
    path = str(manifest(tmp_path, [FINANCE, STUDIO]))
    alarmed(served, journal, "finance-analysts")
    planned = run("plan", path, env=env)
    assert planned.code == 3
    assert f"pool-alarm: finance-analysts: run run-0 raised an alarm: {LOST}" in planned.out
    assert "reconciler resolve --acknowledge" in planned.out
    applied = run("apply", path, "--auto-approve", env=env)
    assert applied.code == 3
    [post] = served.posts()
    assert served.pool("design-studio")["id"] in post["path"]

    drifted = run("drift", path, "--format", "json", env=env)
    assert json.loads(drifted.out)["open_alarms"] == 1
    assert "ALARM since" in json.loads(drifted.out)["headline"]

    closed = run("resolve", "--acknowledge", "finance-analysts", env=env)
    assert closed.code == 0
    assert f"UTC is closed by amara: {LOST}" in closed.err
    assert run("resolve", "--acknowledge", "finance-analysts", env=env).code == 9
    assert run("apply", path, "--auto-approve", env=env).code == 0
    assert len(served.posts()) == 2


def test_an_alarm_stands_in_the_headline_also_of_a_round_that_read_nothing(
    run: Run, served: Served, tmp_path: Path, journal: str
) -> None:
    env = served.env | {"RECONCILER_JOURNAL": journal, "HUAWEICLOUD_SDK_SK": "wrong"}
    alarmed(served, journal, "finance-analysts")
    ran = run("drift", str(manifest(tmp_path, [FINANCE])), "--format", "json", env=env)
    assert ran.code == 1
    assert "pool finance-analysts is left alone" in json.loads(ran.out)["headline"]


def test_only_an_alarm_of_exactly_one_pool_is_closed(run: Run, served: Served, journal: str) -> None:
    env = served.env | {"RECONCILER_JOURNAL": journal}
    alarmed(served, journal, "finance-analysts", "call-centre")
    both = run("resolve", "--acknowledge", "same", env=env)
    assert (both.code, "2 pools of the name same have an alarm" in both.err) == (9, True)
    assert served.pool("call-centre")["id"] in both.err
    unknown = run("resolve", "--acknowledge", "nobody", env=env)
    assert (unknown.code, "pools with one: same" in unknown.err) == (9, True)
    assert run("resolve", "--acknowledge", "same", "--pool", "same", env=env).code == 9
    assert run("resolve", "--acknowledge", served.pool("call-centre")["id"], env=env).code == 0
    assert run("resolve", "--acknowledge", "same", env=env).code == 0
