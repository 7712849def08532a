"""What other runs have left open stands in the plan that is reviewed; the journal is only read for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler import sandbox
from reconciler.journal.records import PoolKey
from reconciler.journal.states import State
from reconciler.journal.store import open_journal
from reconciler.values import replace
from tests.flows.conftest import CALLS, FINANCE, Run, manifest
from tests.flows.serving import Served
from tests.flows.skipping import TIME
from tests.journal.samples import intent
from tests.postgres import PostgresServer

HOUR = 3600.0
TARGET = f"{sandbox.REGION}/{sandbox.PROJECT_ID}"
TIED = "{name: research, apply_to: all, disks: [{type: SAS, size: 50}]}"


def left_open(served: Served, url: str, lease: float) -> None:
    """Another run's operation on the finance pool, sent and not resolved, held for ``lease`` seconds from now."""
    pool = PoolKey(TARGET, "sandbox:default", served.pool("finance-analysts")["id"])
    given = replace(
        intent("op-1", pool),
        run_id="other",
        pool_name="finance-analysts",
        signed_at=TIME.now(),
        not_after=None,
    )
    journal = open_journal(url, TIME.now)
    journal.open_run("other", "apply", "1", [TARGET])
    journal.open_operation(given, "other", lease)
    journal.close()


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Where the journal of these tests is."""
    return f"sqlite:///{tmp_path}/journal.db"


@pytest.mark.parametrize(
    ("lease", "rule", "code"), [(HOUR, "pool-held", 5), (0.0, "unresolved-operation", 7)]
)
@pytest.mark.parametrize("command", [("plan",), ("explain", "finance-analysts")], ids=lambda each: each[0])
def test_an_open_operation_stands_in_the_plan(
    run: Run,
    served: Served,
    tmp_path: Path,
    url: str,
    command: tuple[str, ...],
    lease: float,
    rule: str,
    code: int,
) -> None:
    left_open(served, url, lease)
    shown = run(*command, str(manifest(tmp_path, [FINANCE])), "--journal", url, env=served.env)
    assert shown.code == code
    assert rule in shown.out
    assert "operation op-1 of run other is not resolved: it is intended" in shown.out
    assert "There is no journal" not in shown.err


def test_held_pools_alone_end_plan_and_apply_with_the_code_that_is_tried_again(
    run: Run, served: Served, tmp_path: Path, url: str
) -> None:
    left_open(served, url, HOUR)
    path, env = str(manifest(tmp_path, [FINANCE, CALLS])), {**served.env, "RECONCILER_JOURNAL": url}
    assert run("plan", path, env=env).code == 5
    assert run("apply", path, "--auto-approve", env=env).code == 5


def test_a_guard_that_blocks_beside_a_held_pool_is_a_refusal(
    run: Run, served: Served, tmp_path: Path, url: str
) -> None:
    left_open(served, url, HOUR)
    path, env = str(manifest(tmp_path, [FINANCE, TIED])), {**served.env, "RECONCILER_JOURNAL": url}
    assert run("plan", path, env=env).code == 3
    assert run("apply", path, "--auto-approve", env=env).code == 3


def test_the_operations_of_another_service_do_not_count(
    run: Run, served: Served, tmp_path: Path, url: str
) -> None:
    left_open(served, url, HOUR)
    served.world()["name"] = "another"
    assert run("plan", str(manifest(tmp_path, [FINANCE])), "--journal", url, env=served.env).code == 0


def test_the_journal_is_neither_made_nor_changed_by_a_plan(
    run: Run, served: Served, tmp_path: Path, url: str
) -> None:
    path = str(manifest(tmp_path, [FINANCE]))
    for command in (("plan",), ("explain", "finance-analysts")):
        told = run(*command, path, env=served.env)
        assert f"There is no journal at {tmp_path}/state/journal.db: what other runs" in told.err
        assert "no journal" not in told.out
    assert not (tmp_path / "state").exists()
    left_open(served, url, HOUR)
    before = (tmp_path / "journal.db").read_bytes()
    run("plan", path, "--journal", url, env=served.env)
    assert (tmp_path / "journal.db").read_bytes() == before


def test_a_journal_that_cannot_be_read_is_an_error_and_no_empty_one(
    run: Run, served: Served, tmp_path: Path, url: str
) -> None:
    (tmp_path / "journal.db").write_text(
        "this is no database, and long enough not to be taken for an empty one"
    )
    assert run("plan", str(manifest(tmp_path, [FINANCE])), "--journal", url, env=served.env).code == 10


def test_a_role_that_may_only_select_is_enough(
    run: Run, served: Served, tmp_path: Path, postgres: PostgresServer
) -> None:
    url = postgres.fresh()
    left_open(served, url, HOUR)
    schema = url.rpartition("%3D")[2]
    with postgres.connect() as connection:
        connection.execute("CREATE ROLE reviewer LOGIN PASSWORD 'reviewer'")
        connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO reviewer".encode())
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO reviewer".encode())
    env = {
        **served.env,
        "RECONCILER_JOURNAL": url.replace(url[: url.index("@")], "postgresql://reviewer:reviewer"),
    }
    shown = run("plan", str(manifest(tmp_path, [FINANCE])), "--format", "json", env=env)
    assert shown.code == 5, shown.err
    assert "pool-held" in {each["rule"] for each in json.loads(shown.out)["findings"]}


def test_what_was_closed_blocks_no_plan(run: Run, served: Served, tmp_path: Path, url: str) -> None:
    left_open(served, url, HOUR)
    journal = open_journal(url, TIME.now)
    journal.close_operation("op-1", "other", State.NOT_ACCEPTED, "a person decided")
    journal.close()
    assert run("plan", str(manifest(tmp_path, [FINANCE])), "--journal", url, env=served.env).code == 0
