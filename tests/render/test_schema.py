"""The published schema: real plans fit it, and it names every key they have."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reconciler.planning.plan import Plan
from reconciler.render.json import plan_json
from reconciler.render.schema import plan_schema
from tests import sample_plans
from tests.render.hostile import HOSTILE
from tests.render.test_golden import SCENES


def _closed(schema: Any) -> Any:
    """The schema as a test wants it: a key that it does not name is an error."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if closed.get("type") == "object":
        closed["additionalProperties"] = False
    return closed


def _told(plan: Plan) -> Any:
    return json.loads(json.dumps(plan_json(plan)))


STRICT = Draft202012Validator(_closed(plan_schema()))


def test_the_schema_is_valid_itself() -> None:
    Draft202012Validator.check_schema(plan_schema())


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_real_plans_fit_and_hold_nothing_unnamed(scene: Callable[[], Plan]) -> None:
    STRICT.validate(_told(scene()))


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_plans_with_hostile_names_fit_and_print_in_plain_ascii(text: str) -> None:
    plan = sample_plans.hostile(text)
    STRICT.validate(_told(plan))
    assert json.dumps(plan_json(plan)).isprintable()


@pytest.mark.parametrize("key", sorted(plan_json(sample_plans.tie())))
def test_a_plan_without_one_of_the_keys_does_not_fit(key: str) -> None:
    told = _told(sample_plans.tie())
    del told[key]
    assert not STRICT.is_valid(told)


def test_a_later_minor_version_may_add_keys_and_a_major_one_does_not_fit() -> None:
    published = Draft202012Validator(plan_schema())
    told = _told(sample_plans.everything())
    assert published.is_valid({**told, "format_version": "1.7", "later": True})
    assert not published.is_valid({**told, "format_version": "2.0"})
