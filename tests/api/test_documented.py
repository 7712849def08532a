"""What is called unknown is what neither the published documents nor the sandbox have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.api.documented import FIELDS, unknown

PUBLISHED = Path(__file__).parents[1] / "contract" / "published"


def names(schema: Any) -> Iterator[str]:
    """Every field that a schema names, however deep."""
    if isinstance(schema, dict):
        properties = schema.get("properties")
        yield from properties if isinstance(properties, dict) else ()
        for each in schema.values():
            yield from names(each)


@pytest.mark.parametrize(
    ("call", "document"),
    [
        ("list pools", "ListDesktopPools"),
        ("list desktops", "ListPoolDesktopsDetail"),
        ("list sub-jobs", "ListItaSubJobs"),
    ],
)
def test_every_published_field_is_known(call: str, document: str) -> None:
    published = json.loads((PUBLISHED / f"{document}.json").read_text(encoding="utf-8"))
    assert set(names(published["responses"]["200"])) <= FIELDS[call]


def test_unknown_fields_and_words_are_named_with_their_paths_and_bounded() -> None:
    body = {
        "desktop_pools": [
            {"status": "STEADY", "type": "STATIC", "new": {"inside": 1}, "name": "anything"},
            {"status": "W" * 1000, "data_volumes": [{"type": "SAS"}, {"type": "\x1b[31m"}]},
        ]
    }
    found = list(unknown("list pools", json.dumps(body).encode()))
    assert found[0] == "field desktop_pools.new"
    assert found[1].startswith("desktop_pools.status 'WWW")
    assert len(found[1]) < 120
    assert "\x1b" not in found[2]
    assert len(found) == 3
    assert list(unknown("list pools", b"{")) == list(unknown("show pool", b'{"x": 1}')) == []
