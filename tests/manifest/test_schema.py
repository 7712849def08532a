"""The JSON Schema that editors complete from."""

from __future__ import annotations

from typing import Any

from reconciler.manifest.schema import json_schema


def parts() -> dict[str, dict[str, Any]]:
    schema = json_schema()
    return {"DocumentEntry": schema, **schema["$defs"]}


def test_the_schema_is_of_draft_2020_12_and_has_no_address_of_its_own() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "$id" not in schema
    assert schema["required"] == ["version", "target"]


def test_every_key_is_described_and_no_other_is_allowed() -> None:
    for name, part in parts().items():
        assert part["additionalProperties"] is False, name
        assert part["description"], name
        for key, value in part["properties"].items():
            assert "description" in value or "$ref" in value, (name, key)


def test_null_is_nowhere_offered() -> None:
    assert "null" not in str(json_schema()).replace("nullable", "")
    assert "None" not in str(json_schema())


def test_the_bounds_of_a_disk_are_in_the_schema() -> None:
    disk = parts()["DiskEntry"]["properties"]
    assert disk["size"]["multipleOf"] == 10
    assert (disk["size"]["minimum"], disk["size"]["maximum"]) == (10, 32760)
    assert (disk["count"]["minimum"], disk["count"]["maximum"]) == (1, 10)


def test_a_pool_needs_a_name_or_an_id() -> None:
    assert parts()["PoolEntry"]["anyOf"] == [{"required": ["name"]}, {"required": ["id"]}]
