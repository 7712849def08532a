"""The meaning of unquoted words."""

from __future__ import annotations

import pytest

from reconciler.manifest.scalars import RefusedScalar, resolve


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("0", 0),
        ("-10", -10),
        ("100", 100),
        ("SSD", "SSD"),
        ("y", "y"),
        ("Norway", "Norway"),
        ("22:00", "22:00"),
        ("190:20:30", "190:20:30"),
        ("305d3c76-199f-4407-8d82-2a42d970595e", "305d3c76-199f-4407-8d82-2a42d970595e"),
        ("12345678901234567890123456789012", "12345678901234567890123456789012"),
        ("ap-southeast-3", "ap-southeast-3"),
        ("1.2.3", "1.2.3"),
        ("é", "é"),
    ],
)
def test_a_word_is_what_it_looks_like(word: str, value: object) -> None:
    resolved = resolve(word)
    assert resolved == value
    assert type(resolved) is type(value)


@pytest.mark.parametrize(
    "word",
    "yes Yes NO on off OFF null ~ Null 2024-01-31 2024-1-1T10:00:00Z +5 010 0o10 0x1F 0b1 1_000 "  # noqa: SIM905
    "1.5 .5 1. 1e3 -1E-3 .inf -.Inf .nan".split(),
)
def test_a_word_that_readers_disagree_on_is_refused_without_repeating_numbers(word: str) -> None:
    with pytest.raises(RefusedScalar, match=r"write|quote") as refusal:
        resolve(word)
    if any(character.isdigit() for character in word):
        assert word not in str(refusal.value)
