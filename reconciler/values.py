"""What every value is made of: a struct of msgspec, and how to get a changed copy of one.

A frozen dataclass costs thirty times as much to define and twenty times as much to make, and a plan defines a hundred
kinds of values and makes a million of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

# So mypy checks names and types of what is replaced, which msgspec's own signature leaves open.
if TYPE_CHECKING:
    from dataclasses import replace  # noqa: TID251 - for mypy alone
else:
    from msgspec.structs import replace

__all__ = ["Struct", "field", "replace"]
