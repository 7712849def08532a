"""Renders a plan for GitHub Actions: the job summary, annotations, and log lines that are not run as commands.

``cli`` reads the variables ``GITHUB_ACTIONS`` and ``GITHUB_STEP_SUMMARY``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from reconciler.errors import Fault
from reconciler.planning.finding import Severity
from reconciler.planning.plan import Plan
from reconciler.render.markdown import code, plan_markdown, prose
from reconciler.render.words import APPLY
from reconciler.safe_text import safe_text

SUMMARY_LIMIT = 250_000
"""Characters; GitHub accepts 1 MiB per step (documented), and a character has at most 4 bytes."""

_PLACE = re.compile(r"(?P<file>.+):(?P<line>[1-9]\d*):(?P<column>[1-9]\d*)", re.DOTALL)
_LEVELS = {Severity.BLOCK: "error", Severity.WARN: "warning"}


def job_summary(plan: Plan, apply: str = APPLY, failed: str = "") -> str:
    """The plan for the summary page of the run: the review comment with a higher limit.

    ``failed`` is why it was not applied; it stands first.
    """
    title = f"## {prose(failed)}\n\n" if failed else ""
    return title + plan_markdown(plan, SUMMARY_LIMIT, apply) + "\n"


def plan_annotations(plan: Plan) -> Iterator[str]:
    """One workflow command per finding and per failed target, at its manifest line if known."""
    for finding in plan.all_findings:
        level = _LEVELS.get(finding.severity)
        if level:
            where = f"{finding.pool}: " if finding.pool else ""
            sentences = [f"{where}{finding.message}", f"To allow: {finding.allow}" if finding.allow else ""]
            yield annotation(level, finding.rule, sentences, finding.source)
    for failure in plan.failures:
        sentences = [f"{failure.target} could not be planned: {failure.message}", failure.hint]
        yield annotation("error", "target-failed", sentences)


def fault_annotations(faults: Iterable[Fault]) -> Iterator[str]:
    """One workflow command per fault of the manifests, at its line; at the first one of a file that has none."""
    for each in faults:
        yield annotation("error", "manifest", [each.what], f"{each.file}:{each.line or 1}:{each.column or 1}")


def faults_summary(what: str, faults: Iterable[Fault]) -> str:
    """The faults for the summary page of the run."""
    lines = [
        f"## {prose(what)}",
        "",
        *(f"- {code(each.place)} {prose(each.what)}" for each in faults),
    ]
    return "\n".join(lines) + "\n"


def neutral(lines: Iterable[str]) -> Iterator[str]:
    """The same lines, with a space inside anything that the runner would run as a workflow command.

    The runner runs ``::name`` at the start of a line (after white space) and ``##[name`` anywhere. It also splits
    lines at carriage returns, and its comparison may ignore characters without width.
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


def annotation(level: str, title: str, sentences: Iterable[str], source: str = "") -> str:
    """One workflow command (``error``, ``warning`` or ``notice``), at ``file:line:column`` if known."""
    properties = {"title": f"reconciler: {title}"}
    place = _PLACE.fullmatch(source)
    if place:
        properties = {"file": place["file"], "line": place["line"], "col": place["column"], **properties}
    parameters = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    message = "\n".join(safe_text(each) for each in sentences if each)
    return f"::{level} {parameters}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(safe_text(text)).replace(":", "%3A").replace(",", "%2C")
