"""Narrows manifests to the pools that ``--pool`` and ``--exclude`` name; what is not named is not planned at all.

Limits, drift policies and everything else of the manifests stay as they are. Reading the flags is left to ``cli``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from reconciler.errors import BadInput, Fault
from reconciler.model import DesiredPool, Manifest, Selection
from reconciler.planning.suggestion import MAX_COMPARISONS, MAX_LENGTH
from reconciler.values import replace

NEAREST = 3
"""Declared names that a refusal suggests for one that none has."""


def select(manifest: Manifest, selection: Selection) -> Manifest:
    """The manifest with only the selected pools to be planned; ``BadInput`` for a name that no declared pool has.

    By what manifests declare, not by what is live: whether a name fits is known before anything is asked.
    """
    if not (selection.pools or selection.exclude):
        return manifest
    faults = (
        *_unknown(manifest, "--pool", selection.pools),
        *_unknown(manifest, "--exclude", selection.exclude),
    )
    if faults:
        raise BadInput(
            "a flag names a pool that no manifest declares",
            "write a declared name or id, or a pattern with * and ? in quotes; nothing was planned",
            faults=faults,
        )
    chosen = tuple(each for each in manifest.pools if _is_chosen(each, selection))
    others = tuple(each for each in manifest.pools if not _is_chosen(each, selection))
    if not chosen:
        raise BadInput("--exclude leaves no pool of those selected", "narrow --exclude, or omit it")
    note = f"Selected {len(chosen)} of {len(manifest.pools)} declared pools; the others are not planned."
    return replace(
        manifest,
        pools=chosen,
        others=others,
        selection=replace(selection, left_out=len(others)),
        notes=(*manifest.notes, note),
    )


def _is_chosen(pool: DesiredPool, selection: Selection) -> bool:
    wanted = not selection.pools or any(_fits(pool, each) for each in selection.pools)
    return wanted and not any(_fits(pool, each) for each in selection.exclude)


def _fits(pool: DesiredPool, pattern: str) -> bool:
    """By name or id; a name with a bracket in it fits itself as well."""
    return any(name == pattern or fnmatchcase(name, pattern) for name in (pool.name, pool.id) if name)


def _unknown(manifest: Manifest, flag: str, patterns: Sequence[str]) -> Iterator[Fault]:
    from difflib import get_close_matches  # noqa: PLC0415 - most plans name no pool

    names = [name for pool in manifest.pools for name in (pool.name, pool.id) if 0 < len(name) <= MAX_LENGTH]
    for pattern in patterns:
        if any(_fits(pool, pattern) for pool in manifest.pools):
            continue
        comparable = names[:MAX_COMPARISONS] if len(pattern) <= MAX_LENGTH else []
        near = get_close_matches(pattern, comparable, n=NEAREST, cutoff=0.5)
        meant = f"; the nearest: {', '.join(map(repr, near))}" if near else ""
        yield Fault("<flags>", 0, 0, f"{flag} {pattern!r} fits no declared pool{meant}")
