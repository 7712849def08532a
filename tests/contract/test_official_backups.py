"""The vendor's own SDK lists the backups of a served sandbox, and our request is one that it can make."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import parse_qs

from huaweicloudsdkcore.auth.credentials import BasicCredentials  # type: ignore[import-untyped]

from reconciler import sandbox
from reconciler.api import documented
from reconciler.api.connect import open_client
from reconciler.clock import SystemClock
from reconciler.credentials import AccessKeys, Secret
from reconciler.model import Target
from reconciler.sandbox.store import Store
from reconciler.settings import Settings
from reconciler.workspace import BackupReading, LiveWorkspace
from tests.contract.conversation import Recorder
from tests.flows.serving import listening

UNFILLED = {
    "replication_records": "only with show_replication",
    "scheduled_operation_id": "only of some backups that a policy made",
    "version": "of the kind of snapshot below it",
}
"""Fields of the SDK's model that the sandbox leaves out, each with why a real service may too."""


@contextmanager
def served() -> Iterator[tuple[str, Recorder]]:
    recorder = Recorder(sandbox.create_app(Store.memory(sandbox.default_world())))
    with listening(recorder) as url:
        yield url, recorder


@cache
def listed() -> tuple[list[Any], Any, Any]:
    """What the official client got, its model, and the raw document."""
    from huaweicloudsdkcbr import v1  # type: ignore[import-untyped]  # noqa: PLC0415 - slow to import

    with served() as (url, recorder), warnings.catch_warnings():
        # Without a library for dates the SDK leaves times as texts; with one it reads those without a zone as UTC.
        warnings.simplefilter("ignore", ImportWarning)
        keys = BasicCredentials(sandbox.ACCESS_KEY, sandbox.SECRET_KEY, sandbox.PROJECT_ID)
        client = v1.CbrClient.new_builder().with_credentials(keys).with_endpoint(url).build()
        pages = [
            client.list_backups(
                v1.ListBackupsRequest(
                    resource_type="OS::Workspace::DesktopV2", limit=4, offset=offset, sort="id:asc"
                )
            )
            for offset in (0, 4, 8)
        ]
        assert [page.count for page in pages] == [11, 11, 11]
        found = [backup for page in pages for backup in page.backups]
        return found, v1, json.loads(recorder.exchanges[0].answer)


def test_the_sdk_reads_page_by_page_the_very_backups_that_we_read_whole() -> None:
    backups, _, _ = listed()
    ours, _ = asked()
    assert [each.id for each in backups] == [each.id for each in ours.backups]
    assert [each.resource_id for each in backups] == [each.desktop_id for each in ours.backups]
    assert [[child.resource_id for child in each.children] for each in backups] == [
        [volume.volume_id for volume in each.volumes] for each in ours.backups
    ]
    assert {each.status for each in backups} == {each.status for each in ours.backups} == {"available"}


def test_the_sandbox_fills_what_a_real_service_would_and_invents_nothing() -> None:
    backups, v1, document = listed()
    fields = set(v1.BackupResp.openapi_types)
    empty = {name for name in fields if all(getattr(each, name) is None for each in backups)}
    assert empty - {"parent_id", "expired_at"} == set(UNFILLED)
    for row in document["backups"]:
        for each in (row, *row["children"]):
            assert set(each) <= fields
            assert set(each["extend_info"]) <= set(v1.BackupExtendInfo.openapi_types)


def test_our_request_is_one_that_the_sdk_can_make() -> None:
    _, v1, _ = listed()
    _, query = asked()
    assert set(query) <= set(v1.ListBackupsRequest.openapi_types)
    assert query["resource_type"] == ["OS::Workspace::DesktopV2"]
    assert query["limit"] == ["1000"]


def test_what_doctor_calls_known_is_what_the_sdk_knows() -> None:
    _, v1, _ = listed()
    known = documented.FIELDS["list backups"]
    for model in (
        "BackupResp",
        "BackupExtendInfo",
        "ListBackupsResponse",
        "ReplicationRecordGet",
        "ImageData",
    ):
        assert set(getattr(v1, model).openapi_types) <= known, model


@cache
def asked() -> tuple[BackupReading, dict[str, list[str]]]:
    """What our client reads, and the one query with which it asks."""
    with served() as (url, recorder):
        keys = AccessKeys(sandbox.ACCESS_KEY, Secret(sandbox.SECRET_KEY))

        async def read() -> BackupReading:
            target = Target(sandbox.REGION, sandbox.PROJECT_ID)
            async with open_client(Settings(endpoint=url), keys, target, SystemClock()) as client:
                return await LiveWorkspace(client).backups()

        reading = asyncio.run(read())
        [exchange] = recorder.exchanges
    return reading, parse_qs(exchange.query)
