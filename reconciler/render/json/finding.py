"""One finding of a guard or of matching, as several documents hold it."""

from __future__ import annotations

from pydantic import Field

from reconciler.planning.finding import Finding, Severity
from reconciler.render.json.base import Count, Entry, Text


class FindingEntry(Entry):
    """What a guard found: the rule, the number, its limit, and the way out."""

    rule: Text = Field(description="Short stable name, such as limit-copies.")
    severity: Severity
    pool: Text | None = Field(description="The pool's name; null for a finding about the whole run.")
    message: Text
    measured: Count | None = Field(description="The number; null where nothing is counted.")
    limit: Count | None = Field(description="The most allowed; null where there is no limit.")
    source: Text | None = Field(description="Where the limit was set: default, a flag, or file:line:column.")
    allow: Text | None = Field(description="What would allow it; null when nothing does.")


def finding_entry(finding: Finding) -> FindingEntry:
    """One finding with its number, its limit and the way out."""
    return FindingEntry(
        rule=finding.rule,
        severity=finding.severity,
        pool=finding.pool or None,
        message=finding.message,
        measured=finding.measured,
        limit=finding.limit,
        source=finding.source or None,
        allow=finding.allow or None,
    )
