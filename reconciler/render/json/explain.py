"""The JSON of ``explain``: what matched what, by which rule, and what every guard measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import Field

from reconciler.model import Action
from reconciler.planning.change import Rule
from reconciler.planning.plan import Plan, PoolPlan
from reconciler.render.explain import checks, declared, live
from reconciler.render.json.base import Document, Entry, Flag, Text, json_text
from reconciler.render.json.finding import FindingEntry
from reconciler.render.json.plan import LeftoversEntry, leftovers_of

FORMAT_VERSION: Final = "1.1"


class MatchedDisk(Entry):
    """One live disk, one declared disk, or a pair of both."""

    live: Text | None = Field(description="Id, type and GB; null for a disk to add.")
    declared: Text | None = Field(description="Type, GB and line:column; null for a disk to remove.")
    action: Action
    rule: Rule
    carried_out: Flag = Field(description="False: shown as drift only.")
    differs: list[Text] = Field(description="Declared attributes that differ; never a reason to remove.")


class ExplainedPool(Entry):
    """One declared pool that goes by the name or id asked for."""

    pool: Text = Field(description="The pool's name.")
    id: Text | None = Field(description="Null when the declared pool was not found.")
    declared_at: Text = Field(description="file:line:column.")
    disks: list[MatchedDisk]
    leftovers: list[LeftoversEntry] = Field(
        description="Copies that removals of this pool, done only in part, have left."
    )
    guards: list[FindingEntry] = Field(description="Every guard, passed or not: the pool's, then the run's.")


class ExplainDocument(Document):
    """What matched what, by which rule, and what every guard measured."""

    pools: list[ExplainedPool]


def explain_json(plan: Plan, pools: Sequence[PoolPlan]) -> str:
    """These pools of a plan as JSON text."""
    entries = [_pool(plan, each) for each in pools]
    return json_text(ExplainDocument(format_version=FORMAT_VERSION, pools=entries))


def _pool(plan: Plan, pool: PoolPlan) -> ExplainedPool:
    return ExplainedPool(
        pool=pool.label,
        id=pool.live.id if pool.live else None,
        declared_at=str(pool.desired.at),
        disks=[
            MatchedDisk(
                live=live(change.live) or None,
                declared=declared(change.desired) or None,
                action=change.action,
                rule=change.rule,
                carried_out=change.carried_out,
                differs=list(change.differs),
            )
            for change in pool.changes
        ],
        leftovers=leftovers_of(pool),
        guards=[FindingEntry.model_validate(each) for each in checks(plan, pool)],
    )
