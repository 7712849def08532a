"""``import``: writes manifests for pools that exist, so that one command is enough to start.

The YAML is left to ``manifest.emit``.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from reconciler.apply.stop import Stop
from reconciler.cli import flags
from reconciler.cli.commands import path_word
from reconciler.cli.connect import connections, read_settings
from reconciler.cli.console import Console
from reconciler.cli.flags import ConnectionOptions
from reconciler.cli.interlock import Interlock
from reconciler.cli.parameters import flag
from reconciler.cli.signals import run_async
from reconciler.errors import BadInput, ExitCode, ReconcilerError
from reconciler.files import refuse_link, write_file
from reconciler.manifest.emit import emit
from reconciler.model import Pool, Target
from reconciler.planner import Connection
from reconciler.render.line import count
from reconciler.render.text import banner
from reconciler.values import replace

LONGEST_NAME = 100
"""Characters of a pool's name, and of its id, in a file name."""


@flags.options
def import_(
    *,
    pool: Annotated[
        list[str] | None, flag("--pool", help="Only this pool; may be repeated.", metavar="NAME")
    ] = None,
    out: Annotated[Path | None, flag(help="Write one file per pool into this folder.", metavar="DIR")] = None,
    force: Annotated[bool, flag("--force", help="Overwrite files that exist.")] = False,
    only: flags.TargetOptions,
    profile: flags.Profile = "",
    connection: flags.ServiceOptions,
) -> int:
    """Write manifests for live pools, which plan without changes; overwrites only with --force."""
    console = Console()
    target = replace(only.target or _default_target(connection), profile=profile)
    live = _read(target, connection, console)
    chosen = _chosen(live, pool or [])
    names = Counter(each.name for each in live)
    ambiguous = {name for name, times in names.items() if times > 1}
    if out is None:
        console.text(emit(chosen, target, ambiguous))
        return int(ExitCode.DONE)
    files = {out / f"{name}.yaml": each for name, each in _named(chosen, ambiguous)}
    if existing := sorted(str(path) for path in files if os.path.lexists(path) and not force):
        raise BadInput(
            f"{count(len(existing), 'file')} would be overwritten: {', '.join(existing)}",
            "use --force to overwrite",
        )
    try:
        refuse_link(out)
        out.mkdir(parents=True, exist_ok=True)
        for path, each in files.items():
            write_file(path, emit([each], target, ambiguous), mode=0o666, below=out, new=not force)
    except OSError as error:
        raise BadInput(f"{error.filename or out} cannot be written: {error.strerror}") from None
    console.info(
        f"Wrote {count(len(files), 'manifest')} to {out}; check them with: reconciler plan {path_word(out)}"
    )
    return int(ExitCode.DONE)


def _read(target: Target, connection: ConnectionOptions, console: Console) -> tuple[Pool, ...]:

    async def work(_stop: Stop) -> tuple[Pool, ...]:
        interlock = Interlock(
            lambda _: "", console.info, writes=False, confirmed=frozenset({target.project_id})
        )
        async with connections([target], connection, interlock) as opened:
            found = opened[target]
            if not isinstance(found, Connection):
                raise ReconcilerError(found.message, found.hint)
            for line in banner([found.service.name]):  # on stderr, since stdout may be the manifest
                if line.text:
                    console.info(line.text)
            with console.working("Reading the live pools"):
                return await found.workspace.pools()

    return run_async(work)


def _chosen(live: Sequence[Pool], wanted: Sequence[str]) -> list[Pool]:
    if unknown := sorted(set(wanted) - {each.name for each in live} - {each.id for each in live}):
        raise BadInput(f"there is no pool {', '.join(unknown)}", "reconciler import without --pool lists all")
    chosen = [each for each in live if not wanted or each.name in wanted or each.id in wanted]
    return sorted(chosen, key=lambda each: (each.name, each.id))


def _default_target(connection: ConnectionOptions) -> Target:
    if connection.sandbox:
        from reconciler import sandbox  # noqa: PLC0415 - a server's imports

        return Target(sandbox.REGION, sandbox.PROJECT_ID)
    settings = read_settings(connection)
    if not (settings.region and settings.project_id):
        raise BadInput(
            "no project is given", "use --region and --project-id, or set HW_REGION_NAME and HW_PROJECT_ID"
        )
    return Target(settings.region, settings.project_id)


def _named(pools: Sequence[Pool], ambiguous: set[str]) -> Iterator[tuple[str, Pool]]:
    """Each pool with a unique file name that is safe on every file system, also one that ignores case.

    The id is added when the pool's name alone is not unique or not safe. Only letters, digits, ``-`` and ``_`` are
    kept, so no name from the service can lead out of the folder.
    """
    taken: set[str] = set()
    for pool in pools:
        name = plain = _plain(pool.name)
        if not plain or plain != pool.name or pool.name in ambiguous or name.casefold() in taken:
            name = f"{plain or 'pool'}-{_plain(pool.id)}"
        stem, number = name, 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        yield name, pool


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")[:LONGEST_NAME]
