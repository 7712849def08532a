"""Findings: what a guard, the matching or the journal reports about a pool or a run.

Making them is left to those modules, showing them to ``render``.
"""

from __future__ import annotations

from enum import StrEnum

from reconciler.values import Struct


class Severity(StrEnum):
    """How much a finding weighs."""

    PASS = "pass"  # noqa: S105 - a verdict, no password
    WARN = "warn"
    BLOCK = "block"


class Finding(Struct, frozen=True):
    """What a guard found: the rule, the number, the limit, where it was set, and the way out."""

    rule: str
    """Short stable name, such as ``limit-copies`` or ``live-session``."""
    message: str
    severity: Severity = Severity.BLOCK
    pool: str = ""
    """The pool's label; empty for a finding about the whole run."""
    measured: int | None = None
    limit: int | None = None
    source: str = ""
    """Where the limit or the entry stands: ``default``, a flag, or ``file:line:column``."""
    allow: str = ""
    """What would allow it; empty when nothing does."""
