"""The published schemas: what is printed fits them, they name every key, and anything else does not fit."""

from __future__ import annotations

import copy
import functools
import json
import operator
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from reconciler.planning.plan import Plan
from reconciler.render.json.explain import explain_json
from reconciler.render.json.plan import plan_json
from tests import sample_plans
from tests.documents import DOCUMENTS, printed, published_schema, strict, validator
from tests.render.hostile import HOSTILE
from tests.render.test_golden import SCENES

SAMPLES = [(command, json.loads(text)) for command, text in printed()]
NAMES = [f"{index}-{command}" for index, (command, _) in enumerate(SAMPLES)]
OPEN = ("summary", "detail")
"""In the history: objects with keys of their own."""
CLOSED = ("severity", "ending", "action", "step", "action_reason", "closed_by", "state", "apply_to", "way")
"""Keys whose values are closed lists of words; the ``rule`` of a finding is open, that of a match is closed."""
Path = tuple[str | int, ...]


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """The way to every key of every object, but for those with keys of their own."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield (*path, key)
            if not (key in OPEN and ("command" in value or "seq" in value)):
                yield from _paths(each, (*path, key))
    if isinstance(value, list) and value:
        yield from _paths(value[0], (*path, 0))


def _changed(value: Any, path: Path, change: Callable[[Any, str | int], None]) -> Any:
    """The document with a change to one key; all that does not hold that key is the same object as before."""
    key, *rest = path
    changed = copy.copy(value)
    if rest:
        changed[key] = _changed(value[key], tuple(rest), change)
    else:
        change(changed, key)
    return changed


def _set(to: object) -> Callable[[Any, str | int], None]:
    return lambda holder, key: operator.setitem(holder, key, to)


def remembering(command: str) -> Any:
    """The published schema, for one document in many variants: what was found valid is not looked at again."""
    follow = Draft202012Validator.VALIDATORS["$ref"]
    valid: dict[tuple[str, int], object] = {}

    def reference(found: Any, ref: str, instance: object, schema: Any) -> Iterator[ValidationError]:
        if (ref, id(instance)) in valid:
            return
        errors = list(follow(found, ref, instance, schema) or ())
        if not errors:
            valid[ref, id(instance)] = instance  # kept, so that no other object gets its id
        yield from errors

    return validator(published_schema(command), **{"$ref": reference})


@pytest.mark.parametrize("command", DOCUMENTS)
def test_every_schema_is_valid_itself_and_says_what_it_is(command: str) -> None:
    schema = published_schema(command)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"]
    assert schema["description"]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_real_plans_fit_and_hold_nothing_unnamed(scene: Callable[[], Plan]) -> None:
    plan = scene()
    strict("plan").validate(json.loads(plan_json(plan)))
    strict("explain").validate(json.loads(explain_json(plan, plan.pools)))


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_documents_with_hostile_names_fit_and_print_in_plain_ascii(text: str) -> None:
    for command, shown in printed(text):
        assert shown.replace("\n", "").isprintable()
        assert shown.isascii()
        strict(command).validate(json.loads(shown))


def test_what_is_blocked_is_counted_beside_the_summary_and_not_in_it() -> None:
    document = json.loads(plan_json(sample_plans.everything()))
    assert document["summary"] == {"add": 0, "change": 0, "destroy": 1}
    assert document["destroyed"]["disks"] == 1
    assert document["blocked_summary"] == {"pools": 2, "add": 2, "change": 0, "destroy": 3, "undecided": 1}
    quiet = json.loads(plan_json(sample_plans.two_removals()))
    assert quiet["blocked_summary"] == {"pools": 0, "add": 0, "change": 0, "destroy": 0, "undecided": 0}


@pytest.mark.parametrize(("command", "sample"), SAMPLES, ids=NAMES)
def test_a_document_without_one_of_its_keys_does_not_fit(command: str, sample: Any) -> None:
    published = remembering(command)
    assert published.is_valid(sample)
    for path in _paths(sample):
        assert not published.is_valid(_changed(sample, path, operator.delitem)), path


@pytest.mark.parametrize(("command", "sample"), SAMPLES, ids=NAMES)
def test_a_value_of_another_kind_or_a_word_that_no_list_has_does_not_fit(command: str, sample: Any) -> None:
    published = remembering(command)
    assert published.is_valid(sample)
    for path in _paths(sample):
        assert not published.is_valid(_changed(sample, path, _set([[[]]]))), path
        holder = functools.reduce(operator.getitem, path[:-1], sample)
        if path[-1] in CLOSED or (path[-1] == "rule" and "severity" not in holder):
            assert not published.is_valid(_changed(sample, path, _set("no such word"))), path


@pytest.mark.parametrize(("command", "sample"), SAMPLES, ids=NAMES)
def test_a_later_minor_version_may_add_keys_and_a_major_one_does_not_fit(command: str, sample: Any) -> None:
    published = Draft202012Validator(published_schema(command))
    assert next(iter(sample)) == "format_version"
    later: dict[str, object] = {**sample, "format_version": "1.7", "later": True}
    assert published.is_valid(later)
    assert not strict(command).is_valid(later)
    assert not published.is_valid({**sample, "format_version": "2.0"})


@pytest.mark.parametrize("command", ["plan", "drift"])
def test_a_count_below_zero_does_not_fit(command: str) -> None:
    wrong = copy.deepcopy(next(sample for name, sample in SAMPLES if name == command))
    name = next(iter(wrong["summary"]))
    wrong["summary"][name] = -1
    assert not Draft202012Validator(published_schema(command)).is_valid(wrong)


def test_a_round_that_lost_its_measures_does_not_pass_as_a_failed_one() -> None:
    """Both kinds are open to further keys, so only ``run`` tells them apart."""
    [measured] = [sample for command, sample in SAMPLES if command == "drift" and sample["run"]]
    [failed] = [sample for command, sample in SAMPLES if command == "drift" and not sample["run"]]
    published = Draft202012Validator(published_schema("drift"))
    assert not published.is_valid({key: value for key, value in measured.items() if key in failed})
    assert not published.is_valid({**failed, "run": "run-1"})


def test_the_plan_schema_lists_the_closed_vocabularies() -> None:
    parts = published_schema("plan")["$defs"]
    assert parts["Severity"]["enum"] == ["pass", "warn", "block"]
    assert parts["ApplyTo"]["enum"] == ["new", "idle", "all"]
    assert parts["Rule"]["enum"] == [
        *("pinned", "equal", "grown", "swapped", "surplus", "missing"),
        *("set-aside", "left-behind"),
    ]
    assert parts["ResourceChange"]["properties"]["type"]["const"] == "desktop_pool_disk"
    assert list(parts["LimitsEntry"]["properties"]) == [name for name, _ in sample_plans.tie().limits.items()]
