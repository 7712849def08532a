"""One finding of a guard or of matching, as several documents hold it."""

from __future__ import annotations

from pydantic import Field

from reconciler.planning.finding import Severity
from reconciler.render.json.base import Count, Entry, Said, Text


class FindingEntry(Entry):
    """What a guard found: the rule, the number, its limit, and the way out."""

    rule: Text = Field(description="Short stable name, such as limit-copies.")
    severity: Severity
    pool: Said = Field(description="The pool's name; null for a finding about the whole run.")
    message: Text
    measured: Count | None = Field(description="The number; null where nothing is counted.")
    limit: Count | None = Field(description="The most allowed; null where there is no limit.")
    source: Said = Field(description="Where the limit was set: default, a flag, or file:line:column.")
    allow: Said = Field(description="What would allow it; null when nothing does.")
