"""Requests made from the contract: allowed ones get a documented answer, others are refused and change nothing."""

from __future__ import annotations

import json
from copy import deepcopy
from functools import cache
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.core import NotSet

from reconciler import sandbox
from reconciler.sandbox.world import World
from tests.contract.conversation import small_world
from tests.contract.published import (
    PUBLISHED,
    READS,
    WRITES,
    Operation,
    faults,
    operation,
    operations,
    query_faults,
)
from tests.sandbox.asking import JOB_SECONDS, JSON, Asked

# The same examples in every run on one version of the tools, without a time limit or a stored state.
EXAMPLES = settings(
    max_examples=12,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def world_with_a_job() -> tuple[World, str]:
    """A world in which one disk has been removed, and the id of that job."""
    asked = Asked(small_world())
    pool = asked.pool("good")
    job = asked.job(pool, "batch-delete", {"volumes": [{"id": pool["disks"][-1]["id"]}]})
    asked.now += 2 * JOB_SECONDS
    asked.shown(pool)
    return asked.world, job


WORLD, JOB = world_with_a_job()
POOLS = WORLD["projects"][sandbox.PROJECT_ID]["pools"]
DISKS = [disk["id"] for disk in next(iter(POOLS.values()))["disks"]]
PATH_VALUES = {
    "project_id": [sandbox.PROJECT_ID],
    "pool_id": [next(iter(POOLS)), "none-such"],
    "job_id": [JOB, "none-such"],
}


def config() -> SchemathesisConfig:
    """Texts of any characters, found without a codec: see ``tests.texts``."""
    made = SchemathesisConfig()
    made.projects.default.generation.codec = None
    return made


@cache
def calls() -> dict[str, Any]:
    """What schemathesis makes of the contract, by the vendor's name; ids are those of our world, mostly."""
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Workspace", "version": "v2"},
        "paths": {},
    }
    for each in operations():
        path = json.loads((PUBLISHED / f"{each.name}.json").read_text())["path"]
        inside: list[dict[str, Any]] = [
            {"name": name, "in": "path", "required": True, "schema": {"enum": values}}
            for name, values in PATH_VALUES.items()
            if f"{{{name}}}" in path
        ]
        inside += [{"name": name, "in": "query", "schema": schema} for name, schema in each.query.items()]
        described = {
            "operationId": each.name,
            "parameters": inside,
            "responses": {"200": {"description": ""}},
        }
        if each.bodies:
            described["requestBody"] = {
                "required": True,
                "content": {"application/json": {"schema": body(each)}},
            }
        document["paths"][path] = {each.method.lower(): described}
    made = [
        each.ok() for each in schemathesis.openapi.from_dict(document, config=config()).get_all_operations()
    ]
    return {each.definition.raw["operationId"]: each for each in made}


def body(published: Operation) -> Any:
    """The newest revision, narrowed to what the sandbox can carry out: chance would never find an accepted write."""
    schema = deepcopy(published.bodies[max(published.bodies)])
    fields, volumes = schema["properties"], schema["properties"]["volumes"]
    item = volumes["items"]
    narrowed = {
        "id": {"enum": [*DISKS, "none-such"]},
        "type": {"enum": ["SAS", "SSD", "SATA", "GPSSD2"]},
        "size": item["properties"].get("size", {}) | {"minimum": 10, "multipleOf": 10},
    }
    needed = {"AddDesktopPoolVolumes": ["type", "size"], "ExpandDesktopPoolVolumes": ["id", "size"]}
    item["required"] = needed.get(published.name, ["id"])
    item["properties"] = {key: narrowed[key] for key in item["required"]}
    kept = {"handle_type", "volumes"} & set(fields)
    schema |= {"properties": {key: fields[key] for key in sorted(kept)}, "required": ["volumes"]}
    volumes |= {"minItems": 1}
    item["additionalProperties"] = schema["additionalProperties"] = False
    return schema


def ask(asked: Asked, case: Any) -> Any:
    sent: dict[str, Any] = {"headers": JSON}
    if isinstance(case.body, bytes):
        sent["content"] = case.body
    elif not isinstance(case.body, NotSet):
        sent["json"] = case.body
    return asked.ask(case.method, case.formatted_path, params=case.query or {}, **sent)


@pytest.mark.parametrize("name", [*READS, *WRITES])
def test_a_request_that_the_contract_allows_gets_an_answer_that_it_knows(name: str) -> None:
    published, asked = operation(name), Asked(deepcopy(WORLD))

    @EXAMPLES
    @given(case=calls()[name].as_strategy(generation_mode=GenerationMode.POSITIVE))
    def check(case: Any) -> None:
        answer = ask(asked, case)
        asked.now += 2 * JOB_SECONDS
        assert answer.status_code in (200, 400, 404, 409)
        schema = published.answers.get(str(answer.status_code), published.answers.get("default", {}))
        assert faults(answer.json(), schema) == []

    check()


@pytest.mark.parametrize("name", [*READS, *WRITES])
def test_a_request_that_breaks_the_contract_is_refused_and_changes_nothing(name: str) -> None:
    asked = Asked(deepcopy(WORLD))

    @EXAMPLES
    @given(case=calls()[name].as_strategy(generation_mode=GenerationMode.NEGATIVE))
    def check(case: Any) -> None:
        answer = ask(asked, case)
        if name in READS and answer.status_code == 200:
            # On the wire a broken value can be a good one again: the text "false" for the boolean.
            assert query_faults(answer.request.url.query.decode(), operation(name).query) == []
            return
        assert 400 <= answer.status_code < 500, (answer.request.url, answer.text)
        assert answer.json()["error_code"]

    check()
    assert asked.world["projects"] == WORLD["projects"]
    assert asked.world["jobs"] == WORLD["jobs"]
