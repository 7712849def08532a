from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.redaction import know
from reconciler.safe_text import LONGEST, all_safe, safe_text
from tests.texts import texts


@pytest.mark.parametrize("text", ["finance-analysts", "财务-分析", "Žofie Čapková", "CORP\\anna", "", "a b"])
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert safe_text(text) == text


@pytest.mark.parametrize(
    ("hostile", "seen"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("two\nlines", "two\\nlines"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("pay\u200broll", "pay\\u200broll"),
        ("\ufeffname", "\\ufeffname"),
        ("a\u00a0b", "a\\xa0b"),
        ("a\u3164b", "a\\u3164b"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("line\u2028sep", "line\\u2028sep"),
    ],
)
def test_characters_that_deceive_are_escaped_visibly(hostile: str, seen: str) -> None:
    assert safe_text(hostile) == seen


def test_a_long_text_is_cut_and_says_how_long_it_was() -> None:
    cut = safe_text("x" * 5000)
    assert len(cut) == LONGEST
    assert cut.endswith("… (5000 characters)")


@given(texts(max_size=1500))
def test_any_text_becomes_printable_short_and_stable(text: str) -> None:
    safe = safe_text(text)
    assert safe.isprintable()
    assert len(safe) <= LONGEST
    assert safe_text(safe) == safe


@given(st.text(st.characters(categories=["L", "N"], codec="ascii")))
def test_plain_letters_and_digits_never_change(text: str) -> None:
    assert safe_text(text) == text


def test_a_text_that_fills_memory_is_looked_at_only_at_its_beginning() -> None:
    know("swordfish-4711")
    cut = safe_text("swordfish-4711 " * 1_000_000)
    assert len(cut) == LONGEST
    assert "swordfish" not in cut
    assert cut.endswith("… (15000000 characters)")


@given(st.lists(st.text(st.sampled_from("swordfih-4711|\n \\u202e"), max_size=30), max_size=4))
def test_texts_that_are_safe_together_are_safe_each(texts: list[str]) -> None:
    know("swordfish-4711", "dwarf-|-wood")
    assert not all_safe(texts) or [safe_text(each) for each in texts] == texts


@pytest.mark.parametrize(
    "bad", ["swordfish-4711", "a\nb", "sword\n fish-4711", "c3dvcmRmaXNoLTQ3MTE=", "x" * LONGEST]
)
def test_one_text_that_is_not_safe_makes_all_doubtful(bad: str) -> None:
    know("swordfish-4711")
    assert all_safe(["SAS", "STEADY"])
    assert not all_safe(["SAS", bad, "STEADY"])
