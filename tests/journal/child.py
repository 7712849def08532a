"""What the journal tests do in separate processes: race, die, run with fewer rights.

Run as ``python -m tests.journal.child WHAT ARGUMENTS…``; results are one line of JSON on stdout.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import time
from datetime import UTC, datetime

from reconciler.errors import JournalError, PoolHeld, Refused, StalePlan
from reconciler.journal.records import DayBudget, Journal, PoolKey
from reconciler.journal.states import Outcome, State
from reconciler.journal.store import find_journal, open_journal
from tests.journal.samples import POOL, intent

NOBODY = 65534


def _now() -> datetime:
    return datetime.now(UTC)


def race(url: str, name: str, pools: str) -> None:
    """Fight over the schema; when all have it, over every pool, a plan and a budget."""
    _wait_for_the_gun()
    journal = open_journal(url, _now)
    _wait_for_the_gun()
    order = list(range(int(pools)))
    random.Random(name).shuffle(order)
    won = [pool for pool in order if _wins(journal, name, pool)]
    claimed = reserved = 0
    try:
        journal.claim_plan("plan", name)
        claimed = 1
    except StalePlan:
        pass
    for number in range(10):
        key = PoolKey("budget/target", POOL.service, f"{name}-{number}")
        try:
            journal.open_operation(intent(f"{name}-b{number}", key, disks=3), name, 60, DayBudget(100, ""))
            reserved += 1
        except Refused:
            pass
    journal.close()
    print(json.dumps({"won": won, "claimed": claimed, "reserved": reserved}))


def _wait_for_the_gun() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def _wins(journal: Journal, name: str, pool: int) -> bool:
    key = PoolKey(POOL.target, POOL.service, f"pool-{pool}")
    try:
        journal.open_operation(intent(f"{name}-{pool}", key, generation=0), name, 60)
    except PoolHeld:
        return False
    return True


def die(url: str, rounds: str, seed: str) -> None:
    """Kill a writer again and again amid its writes; say what was promised and what is there."""
    chance = random.Random(int(seed))
    promised: dict[str, str] = {}
    for number in range(int(rounds)):
        reader, writer = os.pipe()
        if (victim := os.fork()) == 0:
            os.close(reader)
            _write_on(url, f"{number}", writer)
        os.close(writer)
        with os.fdopen(reader) as told:
            for _ in range(chance.randrange(2, 9)):
                operation, state = told.readline().split()
                promised[operation] = state
            time.sleep(chance.random() * 0.004)
            os.kill(victim, signal.SIGKILL)
            os.waitpid(victim, 0)
            # What was still told before the kill had been promised too.
            promised |= dict(line.split() for line in told if line.endswith("\n"))
    journal = open_journal(url, _now)
    found = {each.id: each.state.value for each in journal.operations(datetime.min.replace(tzinfo=UTC))}
    generation = journal.generation(POOL)
    opened = journal.unresolved()
    journal.close()
    print(json.dumps({"promised": promised, "found": found, "generation": generation, "open": len(opened)}))


def _write_on(url: str, name: str, writer: int) -> None:
    """Open and close operations on one pool for ever, telling what is certain after each write."""
    journal = open_journal(url, _now)
    for left in journal.unresolved():
        taken = journal.take_over(left.id, name, 0)
        journal.close_operation(taken.id, name, State.NOT_ACCEPTED, "left by a dead run")
    number = 0
    while True:
        operation = f"{name}-{number}"
        journal.open_operation(intent(operation, generation=journal.generation(POOL)), name, 0)
        os.write(writer, f"{operation} intended\n".encode())
        journal.record_outcome(operation, name, Outcome(State.ACCEPTED, "job"))
        os.write(writer, f"{operation} accepted\n".encode())
        journal.close_operation(operation, name, State.DONE, "gone")
        os.write(writer, f"{operation} done\n".encode())
        number += 1


def full(url: str) -> None:
    """Write until the file may grow no more, as on a full disk, and say how that looked."""
    journal = open_journal(url, _now)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    kept = 0
    try:
        while True:
            journal.record_event("run-1", "filling", {"text": "x" * 1000, "number": kept})
            kept += 1
    except JournalError as error:
        refused = error
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    journal.record_event("run-1", "space again", {})
    journal.close()
    print(json.dumps({"kept": kept, "message": refused.message, "hint": refused.hint}))


def humble(url: str) -> None:
    """Open a journal without root's rights; say what each way in answers."""
    for module in ("sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.sqlite.pysqlite"):
        __import__(module)  # as nobody the packages may be out of reach
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    answers = {}
    for name, way_in in (("open", open_journal), ("find", find_journal)):
        try:
            journal = way_in(url, _now)
        except JournalError as error:
            answers[name] = f"{error.message} / {error.hint}"
            continue
        answers[name] = "none" if journal is None else f"{len(journal.runs(9))} runs"
        if journal is not None:
            journal.close()
    print(json.dumps(answers))


def without_driver(url: str) -> None:
    """Open a PostgreSQL journal where the driver is not installed."""
    sys.modules["psycopg"] = None  # type: ignore[assignment]
    try:
        open_journal(url, _now)
    except JournalError as error:
        print(json.dumps({"message": error.message, "hint": error.hint}))


if __name__ == "__main__":
    {each.__name__: each for each in (race, die, full, humble, without_driver)}[sys.argv[1]](*sys.argv[2:])
