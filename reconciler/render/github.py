"""Owns what GitHub Actions shows of a plan: the job summary, the annotations, and lines it cannot obey.

Where the variables ``GITHUB_ACTIONS`` and ``GITHUB_STEP_SUMMARY`` are looked at is left to ``cli``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from reconciler.planning.finding import Severity
from reconciler.planning.plan import Plan
from reconciler.render.markdown import plan_markdown
from reconciler.safe_text import safe_text

SUMMARY_LIMIT = 250_000
"""Characters; GitHub takes 1 MiB a step (documented), and a character has at most 4 bytes."""

_PLACE = re.compile(r"(?P<file>.+):(?P<line>[1-9]\d*):(?P<column>[1-9]\d*)", re.DOTALL)
_LEVELS = {Severity.BLOCK: "error", Severity.WARN: "warning"}


def job_summary(plan: Plan) -> str:
    """The plan for the page of the run: the review comment with more room."""
    return plan_markdown(plan, SUMMARY_LIMIT) + "\n"


def plan_annotations(plan: Plan) -> Iterator[str]:
    """One workflow command for each finding and each failed target, at its manifest line where known."""
    for finding in plan.all_findings:
        level = _LEVELS.get(finding.severity)
        if level:
            where = f"{finding.pool}: " if finding.pool else ""
            told = [f"{where}{finding.message}", f"To allow: {finding.allow}" if finding.allow else ""]
            yield annotation(level, finding.rule, told, finding.source)
    for failure in plan.failures:
        told = [f"{failure.target} could not be planned: {failure.message}", failure.hint]
        yield annotation("error", "target-failed", told)


def neutral(lines: Iterable[str]) -> Iterator[str]:
    """The same lines, with a space inside whatever the runner would obey as a workflow command.

    The runner obeys ``::name`` at the start of a line, white space aside, and ``##[name`` anywhere. It
    splits at every carriage return too, and its comparison may skip characters that have no width.
    """
    for text in lines:
        for line in re.split(r"\r\n|\r|\n", text):
            bare = "".join(char for char in line if char == "\t" or unicodedata.category(char)[0] not in "CM")
            if bare.lstrip().startswith("::"):
                yield bare.replace("::", ": :", 1).replace("##[", "## [")
            elif "##[" in bare:
                yield bare.replace("##[", "## [")
            else:
                yield line


def annotation(level: str, title: str, told: Iterable[str], source: str = "") -> str:
    """One workflow command (``error``, ``warning`` or ``notice``), at ``file:line:column`` where that is known."""
    properties = {"title": f"reconciler: {title}"}
    place = _PLACE.fullmatch(source)
    if place:
        properties = {"file": place["file"], "line": place["line"], "col": place["column"], **properties}
    written = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    message = "\n".join(safe_text(each) for each in told if each)
    return f"::{level} {written}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(safe_text(text)).replace(":", "%3A").replace(",", "%2C")
