"""The client against the simulated service, over TCP: two implementations that share no code must agree."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from reconciler import sandbox
from reconciler.api.client import WorkspaceClient
from reconciler.api.connect import open_client
from reconciler.clock import SystemClock
from reconciler.credentials import AccessKeys, Credentials, Password, Secret, Token
from reconciler.errors import CredentialsError, PoolNotFound
from reconciler.journal.states import State
from reconciler.model import Target
from reconciler.settings import Settings
from tests.flows.serving import Served, serving

KEYS = AccessKeys(sandbox.ACCESS_KEY, Secret(sandbox.SECRET_KEY))
TARGET = Target(sandbox.REGION, sandbox.PROJECT_ID)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(sandbox.default_world(), job_seconds=0.1) as service:
        yield service


def ask(
    served: Served, call: Callable[[WorkspaceClient], Awaitable[Any]], credentials: Credentials = KEYS
) -> Any:
    async def run() -> Any:
        settings = Settings(endpoint=served.url, iam_endpoint=served.url)
        async with open_client(settings, credentials, TARGET, SystemClock()) as client:
            return await call(client)

    return asyncio.run(run())


@pytest.mark.parametrize(
    "credentials",
    [KEYS, Token(Secret(sandbox.TOKEN)), Password("sandbox", "sandbox", Secret("sandbox-password"))],
)
def test_every_way_to_authenticate_is_let_in(served: Served, credentials: Credentials) -> None:
    found = ask(served, lambda client: client.pools(), credentials)
    assert len(found) == 6
    assert all(pool.data_volumes and not pool.doubts for pool in found)


@pytest.mark.parametrize(
    "credentials",
    [
        AccessKeys(sandbox.ACCESS_KEY, Secret("wrong")),
        AccessKeys("unknown", Secret(sandbox.SECRET_KEY)),
        Token(Secret("wrong")),
        Password("sandbox", "sandbox", Secret("wrong")),
    ],
)
def test_wrong_credentials_are_told_as_such(served: Served, credentials: Credentials) -> None:
    with pytest.raises(CredentialsError):
        ask(served, lambda client: client.pools(), credentials)


def test_the_sandbox_gives_its_name(served: Served) -> None:
    assert ask(served, lambda client: client.announce())


def test_a_pool_its_desktops_and_its_differences_can_be_read(served: Served) -> None:
    pool = served.pool("call-centre")

    async def read(client: WorkspaceClient) -> tuple[Any, Any, Any]:
        body, _ = await client.pool(pool["id"])
        return body, await client.desktops(pool["id"]), await client.inconsistent_statics(pool["id"])

    body, desktops, differing = ask(served, read)
    assert (body.name, body.desktop_count) == ("call-centre", len(desktops)) == ("call-centre", 25)
    assert {copy.desktop_pool_disk_id for desktop in desktops for copy in desktop.data_volumes} == {
        disk.id for disk in body.data_volumes
    }
    assert differing.disk_num == 0


def test_an_unknown_pool_and_an_unknown_job_are_told_as_such(served: Served) -> None:
    with pytest.raises(PoolNotFound):
        ask(served, lambda client: client.pool("305d3c76-0000-0000-0000-000000000000"))
    assert ask(served, lambda client: client.job("305d3c76-0000-0000-0000-000000000000")) is None


def test_a_hostile_pool_id_is_signed_as_the_service_reads_it(served: Served) -> None:
    async def read(client: WorkspaceClient) -> None:
        for hostile in ("a b", "a%41", "ü+~", "a?b"):
            with pytest.raises(PoolNotFound):
                await client.pool(hostile)

    ask(served, read)


def test_a_disk_is_deleted_and_its_job_ends(served: Served) -> None:
    pool = served.pool("finance-analysts")
    disk = pool["disks"][2]
    body = {"volumes": [dict(disk)]}

    async def delete(client: WorkspaceClient) -> tuple[Any, Any, Any]:
        outcome = await client.post_volumes("batch-delete", pool["id"], body, datetime.now(UTC))
        served.offset[0] += 60  # the service's minute, not ours
        job = await client.job(outcome.job_id)
        subs = await client.sub_jobs(pool_id=pool["id"], job_type="deleteDesktopPoolVolumes")
        return outcome, subs, job

    outcome, subs, job = ask(served, delete)
    assert outcome.state is State.ACCEPTED
    assert {sub.job_id for sub in subs} == {outcome.job_id}
    assert job.status in {"SUCCESS", "COMPLETE"}
    assert len(job.sub_jobs) == 12
    assert disk["id"] not in {left["id"] for left in served.pool("finance-analysts")["disks"]}


def test_a_disk_that_is_not_there_is_rejected(served: Served) -> None:
    pool = served.pool("design-studio")
    body = {"volumes": [{"id": "none", "type": "SAS", "size": 10}]}
    outcome = ask(
        served, lambda client: client.post_volumes("batch-delete", pool["id"], body, datetime.now(UTC))
    )
    assert (outcome.state, outcome.status) == (State.REJECTED, 400)
    assert outcome.request_id


def test_a_signature_that_is_too_old_is_rejected(served: Served) -> None:
    pool = served.pool("design-studio")
    old = datetime.fromtimestamp(time.time() - 16 * 60, UTC)
    outcome = ask(served, lambda client: client.post_volumes("batch-delete", pool["id"], {}, old))
    assert (outcome.state, outcome.status, outcome.code) == (State.REJECTED, 401, "APIGW.0303")


def test_thousands_of_pools_come_complete() -> None:
    with serving(sandbox.make_world(pools=2500, disks=2, desktops=0)) as service:

        async def count(client: WorkspaceClient) -> tuple[int, int]:
            return len(await client.pools()), client.requests["list pools"]

        assert ask(service, count) == (2500, 3)
