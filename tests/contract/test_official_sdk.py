"""The vendor's own SDK drives every operation of a served sandbox and gets what a real service would fill."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials  # type: ignore[import-untyped]
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException  # type: ignore[import-untyped]

from reconciler import sandbox
from reconciler.api.outcome import of_answer
from reconciler.api.transport import Answer
from reconciler.journal.states import Step
from reconciler.sandbox.app import OPERATIONS
from reconciler.workspace import Call, body_of
from tests.api.fake_servers import NOW
from tests.contract.conversation import JOB_SECONDS, MESSAGE, Service, conversation, service

DIRECTORY = "only in the domain of a Windows directory"
NO_CODE = "the vendor's example answers leave it out"
HOURS = "only of desktops paid for by packages of hours"
EDGE = "only of desktops at an edge site"
ROOT = "of a system disk without chosen performance and without a key"
UNFILLED = {
    "pool.ou_name": DIRECTORY,
    "pool.domain": DIRECTORY,
    "pool.desktop_name_policy_id": "only where desktops are named by a policy",
    "pool.data_volumes.resource_spec_code": NO_CODE,
    "pool.root_volume.resource_spec_code": NO_CODE,
    "pool.root_volume.iops": ROOT,
    "pool.root_volume.throughput": ROOT,
    "pool.root_volume.kms_id": ROOT,
    "desktop.ou_name": DIRECTORY,
    "desktop.domain": DIRECTORY,
    "desktop.sid": DIRECTORY,
    "desktop.attach_user_infos.domain": DIRECTORY,
    "desktop.ipv6": "only in a network that has it",
    "desktop.internet_mode": "only with a way into the internet",
    "desktop.internet_mode_list": "only with a way into the internet",
    "desktop.share_resource_sku": "only of desktops that people share",
    "desktop.root_resource_id": HOURS,
    "desktop.hour_package_info": HOURS,
    "desktop.site_type": EDGE,
    "desktop.site_name": EDGE,
    "desktop.security_groups": "only in the answer about a single desktop",
    "desktop.task_status": "only while a task runs",
    "desktop.process": "only while a task runs",
    "desktop.data_volumes.resource_spec_code": NO_CODE,
    "desktop.root_volume.resource_spec_code": NO_CODE,
    "desktop.root_volume.desktop_pool_disk_id": "a system disk is no data disk of the pool",
    "desktop.root_volume.iops": ROOT,
    "desktop.root_volume.throughput": ROOT,
    "desktop.root_volume.kms_id": ROOT,
    "sub_job.entities.ip_address": NO_CODE,
    "sub_job.host": NO_CODE,
    "sub_job.attach_user": "only of jobs that bind somebody",
    "sub_job.entity": NO_CODE,
    "sub_job.ip_address": NO_CODE,
}
"""Fields of the SDK's models that the sandbox never fills, each with why a real pool may not either."""
KINDS = {
    "list-pools": ("desktop_pools", "pool"),
    "show-pool": ("", "pool"),
    "list-desktops": ("pool_desktops", "desktop"),
    "inconsistent-statics": ("", "numbers"),
    "show-job": ("", "job"),
    "list-sub-jobs": ("jobs", "sub_job"),
}
"""Of each read: where the things are in its answer, and what they are."""


class Sdk:
    """The official client, and what it got."""

    def __init__(self, served: Service) -> None:
        # It takes most of a second to import, which only those pay who use it.
        from huaweicloudsdkworkspace import v2  # type: ignore[import-untyped]  # noqa: PLC0415

        self.v2 = v2
        self.served = served
        keys = BasicCredentials(sandbox.ACCESS_KEY, sandbox.SECRET_KEY, sandbox.PROJECT_ID)
        client = v2.WorkspaceClient.new_builder().with_credentials(keys).with_endpoint(served.url)
        self.client = client.build()
        self.got: dict[str, list[tuple[Any, Any]]] = defaultdict(list)
        """The model and the document of every answer, by our name of the operation."""

    def call(self, name: str, method: str, **fields: Any) -> Any:
        camel = "".join(word.capitalize() for word in method.split("_"))
        request = getattr(self.v2, f"{camel}Request")(**fields)
        answer = getattr(self.client, method)(request)
        self.got[name].append((answer, json.loads(self.served.exchanges[-1].answer)))
        return answer

    def read(self, pool_id: str) -> None:
        self.call("list-pools", "list_desktop_pools", limit=1000, offset=0)
        self.call("show-pool", "show_desktop_pool_detail", pool_id=pool_id)
        self.call("list-desktops", "list_pool_desktops_detail", pool_id=pool_id, limit=100, offset=0)
        self.call("inconsistent-statics", "list_inconsistent_statics", pool_id=pool_id)

    def write(self, verb: str, pool_id: str, item: str, **fields: Any) -> None:
        """One write, then its job at the start, halfway and at the end."""
        body = getattr(self.v2, f"{verb.capitalize()}DesktopPoolVolumesReq")(
            handle_type="FOR_EXPAND_AND_IDLE" if verb == "delete" else "FOR_EXPAND_AND_ALL",
            volumes=[getattr(self.v2, item)(**fields)],
        )
        job = self.call(f"batch-{verb}", f"{verb}_desktop_pool_volumes", pool_id=pool_id, body=body)
        for _ in range(3):
            self.call("show-job", "show_job", job_id=job.job_id)
            self.call("list-sub-jobs", "list_ita_sub_jobs", desktop_pool_id=pool_id, job_id=job.job_id)
            self.served.pass_time(JOB_SECONDS / 2)

    def retry(self) -> None:
        """The last job of a delete that failed, once more."""
        failed = [
            json.loads(each.answer)["job_id"] for each in self.served.exchanges if "batch-delete" in each.path
        ]
        body = self.v2.JobActionsReq(op_type="retry")
        self.call("retry-job", "run_actions_on_workspace_job", job_id=failed[-1], body=body)
        self.served.pass_time(JOB_SECONDS * 2)


def drive(served: Service) -> Sdk:
    """Every operation, on a pool whose jobs end well and on one whose jobs fail."""
    sdk = Sdk(served)
    for name in ("good", "bad"):
        pool = served.pool(name)
        disk = pool["disks"][0]["id"]
        sdk.read(pool["id"])
        sdk.write("expand", pool["id"], "ExpandDesktopPoolVolumesReqVolumes", id=disk, size=120)
        sdk.write("add", pool["id"], "VolumeAddInfo", type="SAS", size=20)
        sdk.write("delete", pool["id"], "DeleteDesktopPoolVolumesReqVolumes", id=disk)
        sdk.read(pool["id"])
    sdk.retry()
    message = sdk.v2.SendDesktopPoolNotificationsReq(notifications=MESSAGE)
    pool_id = served.pool("good")["id"]
    sdk.call("send-notifications", "send_desktop_pool_notifications", pool_id=pool_id, body=message)
    sdk.read(served.pool("prepaid")["id"])
    return sdk


@cache
def driven() -> Sdk:
    with service() as served:
        return drive(served)


def things(name: str, pair: tuple[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Model and document of each thing in an answer."""
    inside, _ = KINDS[name]
    model, document = pair
    yield from zip(getattr(model, inside), document[inside], strict=True) if inside else [pair]


def walk(path: str, model: Any, document: Any) -> Iterator[tuple[str, Any, Any]]:
    """Every model below this one, with its path and its document."""
    if isinstance(model, list):
        for each, raw in zip(model, document, strict=True):
            yield from walk(path, each, raw)
    elif isinstance(model, dict):
        for key, each in model.items():
            yield from walk(path, each, document[key])
    elif getattr(model, "attribute_map", None):
        yield path, model, document
        for name, key in model.attribute_map.items():
            if getattr(model, name) is not None:
                yield from walk(f"{path}.{name}", getattr(model, name), document[key])


def everything() -> Iterator[tuple[str, Any, Any]]:
    for name, (_, kind) in KINDS.items():
        for pair in driven().got[name]:
            for model, document in things(name, pair):
                for path, each, raw in walk(kind, model, document):
                    yield path.replace("job.sub_jobs", "sub_job"), each, raw


def test_the_sdk_drives_every_operation() -> None:
    assert set(driven().got) == {operation.name for operation in OPERATIONS}


def test_the_sdk_gets_every_field_that_a_real_service_would_fill() -> None:
    filled: dict[str, bool] = {}
    for path, model, _ in everything():
        for name in model.openapi_types:
            field = f"{path}.{name}"
            filled[field] = filled.get(field, False) or getattr(model, name) is not None
    assert {field for field, is_filled in filled.items() if not is_filled} == set(UNFILLED)
    assert len(filled) > 150


def test_the_sandbox_invents_no_field_that_the_sdk_does_not_know() -> None:
    strangers = {
        f"{path}.{key}"
        for path, model, document in everything()
        for key in set(document) - set(model.attribute_map.values())
    }
    assert strangers == set()


def test_the_kind_by_which_desktops_differ_is_one_of_the_words_of_the_sdk() -> None:
    words = {model.inconsistent_type for model, _ in driven().got["list-desktops"]}
    assert None in words, "of a pool whose desktops are as it wants them"
    assert words - {None} == {"disk_num"}
    assert "disk_num" in vars(driven().v2.InconsistentTypeEnum).values()


@pytest.mark.parametrize("verb", ["delete", "add", "expand"])
def test_our_writes_say_only_what_the_sdk_can_say_and_the_type_and_size_of_older_revisions(
    verb: str,
) -> None:
    v2 = driven().v2
    top = getattr(v2, f"{verb.capitalize()}DesktopPoolVolumesReq")
    item = getattr(v2, top.openapi_types["volumes"].removeprefix("list[").removesuffix("]"))
    bodies = [json.loads(each.body) for each in conversation() if each.path.endswith(f"/batch-{verb}")]
    assert bodies
    for body in bodies:
        assert set(body) <= set(top.openapi_types)
        assert {key for volume in body["volumes"] for key in volume} <= {*item.openapi_types, "type", "size"}


def test_our_retry_says_exactly_what_the_sdk_says() -> None:
    sent = [json.loads(each.body) for each in driven().served.exchanges if each.path.endswith("/actions")]
    assert sent == [body_of(Call(Step.RETRY, "pool", (), None, "job"))]


def test_our_message_says_exactly_what_the_sdk_says_and_its_answer_is_a_job() -> None:
    [(answer, _)] = driven().got["send-notifications"]
    ours = [each for each in conversation() if each.path.endswith("/notifications")]
    theirs = [each for each in driven().served.exchanges if each.path.endswith("/notifications")]
    assert [json.loads(each.body) for each in ours] == [json.loads(each.body) for each in theirs]
    assert [each.path.split("/")[:5] for each in ours] == [each.path.split("/")[:5] for each in theirs]
    assert of_answer(Answer(200, {}, theirs[0].answer), NOW).job_id == answer.job_id


def test_the_sdk_understands_a_refusal() -> None:
    with service() as served:
        sdk = Sdk(served)
        with pytest.raises(ClientRequestException) as refused:
            sdk.call("show-pool", "show_desktop_pool_detail", pool_id="none-such")
    assert (refused.value.status_code, refused.value.error_code) == (400, "WKS.0001")
    assert refused.value.request_id
