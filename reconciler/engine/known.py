"""What the journal knows of the pools that are about to be planned, as the values that planning takes.

Reading the journal is all it does. What is open is left to ``holds`` and ``resolution``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from reconciler.apply.marks import marks_of
from reconciler.journal.records import Journal, Operation
from reconciler.journal.states import State, Step
from reconciler.model import ApplyTo
from reconciler.planner import Holds, Known
from reconciler.planning.leftovers import PartialRemoval
from reconciler.planning.plan import Service
from reconciler.workspace import HANDLE_TYPES


def known_of(journal: Journal, services: Iterable[Service], holds: Holds, *, stays: bool = True) -> Known:
    """What the journal knows of these services in addition to ``holds``; nothing is asked or written.

    ``stays``: the journal is open for as long as this is used, so that it can be asked again.
    """
    services = list(services)

    def held_now() -> frozenset[tuple[str, str]]:
        found = (each for one in services for each in journal.unresolved(str(one.target), one.name))
        return frozenset((each.intent.pool.target, each.intent.pool.pool_id) for each in found)

    partial: dict[tuple[str, str], list[PartialRemoval]] = defaultdict(list)
    jobs: set[str] = set()
    managed: dict[str, frozenset[str]] = {}
    for service in services:
        managed[str(service.target)] = journal.pools(str(service.target), service.name)
        for operation in journal.not_done(str(service.target), service.name):
            if operation.outcome and operation.outcome.job_id:
                jobs.add(operation.outcome.job_id)
            if _left_something(operation):
                pool = operation.intent.pool
                partial[pool.target, pool.pool_id].append(_removal(operation))
    removals = {key: tuple(found) for key, found in partial.items()}
    asked_again = held_now if stays else frozenset
    return Known(holds, removals, frozenset(jobs), asked_again, managed, marks_of(journal, services))


def _left_something(operation: Operation) -> bool:
    intent = operation.intent
    if intent.step is Step.RETRY:
        # A retry that did nothing is what can be retried next, once the service has given it a job.
        job = operation.outcome.job_id if operation.outcome else ""
        return operation.state is State.PARTIAL or (operation.state is State.FAILED and bool(job))
    # A removal for later desktops leaves every copy on purpose.
    on_purpose = intent.handle_type == HANDLE_TYPES[ApplyTo.NEW]
    return operation.state is State.PARTIAL and intent.step is Step.REMOVE and not on_purpose


def _removal(operation: Operation) -> PartialRemoval:
    intent = operation.intent
    disks = tuple(disk.id for disk in intent.disks)
    return PartialRemoval(operation.id, operation.opened, disks, intent.copies)
