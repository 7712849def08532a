"""Mutants that change nothing that anybody could observe, each with why; ``mutants`` counts them apart."""

from __future__ import annotations

ORDER = "the smallest or largest of two does not depend on their order"
MOMENT = "a reading takes time, so no clock shows the very moment of the deadline after it"
SAME_LENGTH = "both sides have the same length"
SHORTCUT = "only a shortcut is left out: the full search finds the same"
PER_PAIR = (
    "every pair costs as much more, and all cheapest assignments have as many pairs, as sizes are above 0"
)
PER_DISK = "every disk that goes costs as much more, and all cheapest assignments lose as many"

EQUIVALENT = {
    "api/outcome.py": {"return (max(0.0, (moment - now).total_seconds())) if moment else None": ORDER},
    "planning/guards.py": {
        "break": "limits that are left out or special are the last ones of the limits",
        "on_paper = len(replaced) + (min(undecided, added))": ORDER,
        "if on_paper and len(pool.removed) + undecided - (min(undecided, added)) > 0:": ORDER,
    },
    "planning/stale_plan.py": {
        "elif (old is not None or new is not None):": "one is there, and the lines before took the cases of only one",
        "found = (DeepDiff(dict(now), dict(then), view='tree', threshold_to_diff_deeper=0, "
        "ignore_private_variables=False))": "only the names of what differs are taken from it",
    },
    "apply/proof.py": {
        "agreeing = (1)": "the first reading sets it to 1",
        "agreeing = agreeing + (2) if now_seen == seen else 1": "1 is below two readings, and 2 and 3 are not",
        "if not said and (moment <= deadline) and not (seen and seen.complete):": MOMENT,
        "if (moment > deadline) and seen is not None and agreeing >= NEEDED:": MOMENT,
        "if (moment > deadline + CONTRADICTING):": MOMENT,
    },
    "apply/resolve.py": {
        "found = (_closed(operation, Status.PARTIAL, State.PARTIAL, result.message, ctx))": (
            "both are the text 'partial', and the result is replaced"
        ),
    },
    "apply/second_check.py": {
        "allowed += (min(sum((entry.replace for entry in entries)), len(entries) - len(needed)))": ORDER,
        "if (min(missing, idle)) > allowed:": ORDER,
        "if sum(row[0] not in going for row in alike) < (min(len(alike), declared)):": ORDER,
        "grows = any(entry[0] == kind and (entry[1] >= size) for entry in left)": (
            "an entry that equals a disk that goes is not left here: its disk took it, or the call was refused before"
        ),
    },
    "apply/operation.py": {
        "return (min(max(until - ctx.clock.monotonic(), 0.0), ctx.options.proof_timeout))": ORDER,
        "return min(ctx.options.proof_timeout, (max(0.0, until - ctx.clock.monotonic())))": ORDER,
        "due = (min(deadline, ctx.clock.monotonic() + gap))": ORDER,
        "with (suppress(JournalError, PoolHeld)):": "the order of the errors that are suppressed does not matter",
        "for _ in range((4)):": "one more turn of the event loop hears no less",
        "if (ctx.clock.monotonic() > deadline):": MOMENT,
    },
    "planning/matching.py": {
        "for one, two in (zip(right, left, strict=True)):": SHORTCUT,
        "for one, two in (zip(left, right)):": SAME_LENGTH,
        "for one, two in zip(left, right, strict=(False)):": SAME_LENGTH,
        "pairs = sorted((zip(left, right)), key=lambda pair: pair[1].id)": SAME_LENGTH,
        "pairs = sorted(zip(left, right, strict=(False)), key=lambda pair: pair[1].id)": SAME_LENGTH,
        "not (1) < two.size <= MAX_DISK_GB": SHORTCUT,
        "return Match(tuple((Change(Action.KEEP, Rule.EQUAL, one, two)) for one, two in pairs))": (
            "no pool manages keeping"
        ),
        "if not ((entries or disks)):  # nothing to solve": SHORTCUT,
        "tie = min(undecided, key=lambda each: each.candidates[(1)].type != entry.type)": (
            "a tie has two candidates or more, all of one type"
        ),
        "self._gone: list[Cost] = [((2), disk.size, 0, 0, 0, int(disk.id in protect)) for disk in disks]": PER_DISK,
        "self._gone: list[Cost] = [(1, disk.size, (1), 0, 0, int(disk.id in protect)) for disk in disks]": PER_DISK,
        "self._gone: list[Cost] = [(1, disk.size, 0, (1), 0, int(disk.id in protect)) for disk in disks]": PER_DISK,
        "self._gone: list[Cost] = [(1, disk.size, 0, 0, (1), int(disk.id in protect)) for disk in disks]": PER_DISK,
        "first = members[(1)]": "all are compared with one of them, whichever",
        "((self._pairs[i], self._gone[i]) != (self._pairs[first], self._gone[first])) for i in members": SHORTCUT,
        "if (could_stay or could_go):": "where one that goes could stay, one that stays could go: as many of a size go",
        "return ((1), 0, int(grown > 0), grown, len(_differing(entry, disk)), 0)": PER_PAIR,
        "return (0, (1), int(grown > 0), grown, len(_differing(entry, disk)), 0)": PER_PAIR,
        "return (0, 0, int(grown > 0), grown, len(_differing(entry, disk)), (1))": PER_PAIR,
    },
}
"""By file and by the first line that a mutant changes, as it is then."""
