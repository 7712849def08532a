"""Strict YAML: what is accepted, the positions of values, and hostile input."""

from __future__ import annotations

import sys

import pytest

from reconciler.errors import ReconcilerError
from reconciler.manifest.events import MAX_BYTES, documents
from reconciler.manifest.faults import MAX_FAULTS, Faults
from reconciler.manifest.tree import Map, Seq, Value, locate


def parsed(text: str) -> tuple[list[Value], Faults]:
    faults = Faults("m.yaml")
    return [each.root for each in documents(text.encode("utf-8"), faults)], faults


def only_fault(text: str) -> str:
    _, faults = parsed(text)
    assert len(faults.found) == 1, faults.found
    return str(faults.found[0])


def test_values_come_as_plain_python_values() -> None:
    roots, faults = parsed("a: 1\nb: [true, \"1\", 'yes', x]\nc: {d: {}}\ne: |\n  two\n  lines\n")
    assert roots == [{"a": 1, "b": [True, "1", "yes", "x"], "c": {"d": {}}, "e": "two\nlines\n"}]
    assert not faults.found


def test_documents_come_in_order_and_empty_ones_say_nothing() -> None:
    roots, faults = parsed("---\na: 1\n---\n---\nb: 2\n---\n")
    assert roots == [{"a": 1}, {"b": 2}]
    assert not faults.found


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_places_count_lines_and_characters_whatever_ends_the_lines(line_end: str) -> None:
    faults = Faults("m.yaml")
    text = line_end.join(["\ufeffä: {中: 1}", "b:", "  - é: [x, 😀, y]"])
    root = documents(text.encode("utf-8"), faults)[0]

    def place(*path: str | int) -> str:
        return str(faults.position(locate(root.root, root.at, path)))

    assert place("ä", "中") == "m.yaml:1:8"
    assert place("b", 0) == "m.yaml:3:5"
    assert place("b", 0, "é", 2) == "m.yaml:3:15"
    assert place("b", 0, "absent", "deeper") == "m.yaml:3:5"


def test_a_key_and_its_value_have_places_of_their_own() -> None:
    roots, faults = parsed("a:   1\nb:\n  c: 2\n")
    root = roots[0]
    assert isinstance(root, Map)
    assert str(faults.position(root.key_mark("a"))) == "m.yaml:1:1"
    assert str(faults.position(root.value_mark("a"))) == "m.yaml:1:6"
    assert str(faults.position(root.value_mark("b"))) == "m.yaml:3:3"


def test_the_first_of_two_equal_keys_stays() -> None:
    roots, faults = parsed("a: 1\nb: 3\na: [2]\nc: 4\n")
    assert roots == [{"a": 1, "b": 3, "c": 4}]
    assert [str(fault) for fault in faults.found] == [
        "m.yaml:3:1: duplicate key 'a'; it is already set at m.yaml:1:1; keep one"
    ]


def test_documents_before_an_unreadable_one_are_still_looked_at() -> None:
    roots, faults = parsed("a: 1\n---\nb: [1\n")
    assert roots == [{"a": 1}]
    assert len(faults.found) == 1


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "{a: " * 100_000,
        "- " * 100_000,
        "? " * 100_000,
        "\n".join(" " * i + "a:" for i in range(1_000)),
    ],
    ids=["lists", "mappings", "block lists", "keys", "block mappings"],
)
def test_deep_input_is_refused_before_it_is_built(text: str) -> None:
    assert "nested" in only_fault(text) or "cannot be a key" in only_fault(text)


def test_a_file_of_nothing_but_values_is_refused_by_their_number() -> None:
    assert "too many keys and values" in only_fault("[" + "a," * ((MAX_BYTES - 2) // 2) + "]")


def test_faults_are_counted_up_to_a_bound() -> None:
    _, faults = parsed("[" + "yes," * 5_000 + "]")
    assert len(faults.found) == MAX_FAULTS + 1
    assert "not listed" in faults.found[-1].what


def test_one_control_character_a_line_is_reported() -> None:
    _, faults = parsed("a: \x01\x02\nb: 1\nc: \x85")
    assert [(fault.line, fault.column) for fault in faults.found] == [(1, 4), (3, 4)]


def test_a_control_character_may_be_written_as_an_escape() -> None:
    roots, faults = parsed(r'a: "\x07\u202e\0"')
    assert roots == [{"a": "\x07\u202e\0"}]
    assert not faults.found


def test_half_a_surrogate_pair_is_refused() -> None:
    assert "m.yaml:1:" in only_fault(r'a: "\ud800"')


def test_a_refused_value_leaves_its_list_in_order() -> None:
    roots, _ = parsed("[a, yes, *b, c]")
    assert isinstance(roots[0], Seq)
    assert [value for value in roots[0] if isinstance(value, str)] == ["a", "c"]
    assert len(roots[0]) == len(roots[0].marks) == 4


def test_a_missing_c_extension_is_said_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml._yaml", None)
    with pytest.raises(ReconcilerError, match="C extension"):
        parsed("a: 1")
