"""The log of a run: one tree of loggers, whose lines hold no secret whoever listens to them.

Who listens, and in which form, is left to ``cli.logs``; nothing is decided by what was logged. No line is above the
level ``INFO``, so that Python itself prints none where nobody has asked for a log.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache

from reconciler.redaction import redact
from reconciler.safe_text import safe_text

TREE = "reconciler"
"""The logger above all of ours."""
FIELDS = "fields"
"""The attribute of a record that holds what its message is made of."""

Value = str | int | float | bool | None


def logs(area: str) -> bool:
    """Whether anybody listens: asked where a line takes work to make."""
    return _logger(area).isEnabledFor(logging.INFO)


def logs_fine(area: str) -> bool:
    """Whether anybody listens who wants to see everything."""
    return _logger(area).isEnabledFor(logging.DEBUG)


def log(area: str, event: str, **fields: Value) -> None:
    """Log an event of an area (``api``, ``apply`` …) with what is known of it; times are seconds.

    Fields that are None or empty are left out. No field may hold a header, a body or the name of a person.
    """
    _log(logging.INFO, area, event, fields)


def log_fine(area: str, event: str, **fields: Value) -> None:
    """The same for those alone who want to see everything."""
    _log(logging.DEBUG, area, event, fields)


def _log(level: int, area: str, event: str, fields: Mapping[str, Value]) -> None:
    logger = _logger(area)
    if not logger.isEnabledFor(level):
        return
    known = {name: _safe(value) for name, value in fields.items() if value not in (None, "")}
    words = " ".join((redact(event), *(f"{name}={_word(value)}" for name, value in known.items())))
    logger.log(level, "%s", words, extra={FIELDS: {"event": redact(event), **known}})


@cache
def _logger(area: str) -> logging.Logger:
    return logging.getLogger(f"{TREE}.{area}")


def _safe(value: Value) -> Value:
    if isinstance(value, float):
        return round(value, 3)
    return safe_text(value) if isinstance(value, str) else value


def _word(value: Value) -> str:
    text = str(value)
    return f'"{text}"' if " " in text or not text else text
