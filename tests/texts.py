"""Texts of any characters, for properties."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

ANY_CHARACTER = st.characters(exclude_categories=["Cs"])
"""All but halves of surrogate pairs, as ``st.text`` has by itself.

By itself it asks a codec about every character there is, for seconds, in each process of a checkout that is new.
"""


def texts(**size: Any) -> st.SearchStrategy[str]:
    """What ``st.text`` gives."""
    return st.text(ANY_CHARACTER, **size)
