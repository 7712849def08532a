"""Owns ``import``: manifests for pools that exist, so that adopting the tool is one command."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from reconciler.apply.context import Stop
from reconciler.cli import flags
from reconciler.cli.connect import Place, connections, read_settings
from reconciler.cli.running import run_story
from reconciler.cli.screen import Screen
from reconciler.errors import BadInput, ExitCode, ReconcilerError
from reconciler.manifest.emit import emit
from reconciler.model import Pool, Target
from reconciler.planner import Connection
from reconciler.render.words import count


def import_(
    pool: Annotated[
        list[str] | None, typer.Option("--pool", help="Only this pool; may be repeated.", metavar="NAME")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write one file per pool into this folder.", metavar="DIR")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")] = False,
    region: flags.Region = None,
    project_id: flags.ProjectId = None,
    endpoint: flags.Endpoint = None,
    sandbox: flags.Sandbox = False,
) -> int:
    """Write manifests for live pools whose plan is empty; never overwrites without --force."""
    screen = Screen()
    place = Place(endpoint, sandbox)
    target = flags.target(region, project_id) or _default_target(place)
    live = _read(target, place, screen)
    chosen = _chosen(live, pool or [])
    names = Counter(each.name for each in live)
    ambiguous = {name for name, times in names.items() if times > 1}
    if out is None:
        screen.text(emit(chosen, target, ambiguous))
        return int(ExitCode.DONE)
    files = {out / f"{_slug(each, ambiguous)}.yaml": each for each in chosen}
    if existing := sorted(str(path) for path in files if path.exists() and not force):
        raise BadInput(
            f"{count(len(existing), 'file')} would be overwritten: {', '.join(existing)}", "say --force"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path, each in files.items():
            path.write_text(emit([each], target, ambiguous), encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{error.filename or out} cannot be written: {error.strerror}") from None
    screen.say(f"Wrote {count(len(files), 'manifest')} to {out}; check them with: reconciler plan {out}")
    return int(ExitCode.DONE)


def _read(target: Target, place: Place, screen: Screen) -> tuple[Pool, ...]:
    settings = read_settings(place)

    async def story(_stop: Stop) -> tuple[Pool, ...]:
        async with connections([target], place, settings) as opened:
            connection = opened[target]
            if not isinstance(connection, Connection):
                raise ReconcilerError(connection.message, connection.hint)
            with screen.working("Reading the live pools"):
                return await connection.workspace.pools()

    return run_story(story)


def _chosen(live: Sequence[Pool], wanted: Sequence[str]) -> list[Pool]:
    if unknown := sorted(set(wanted) - {each.name for each in live} - {each.id for each in live}):
        raise BadInput(f"there is no pool {', '.join(unknown)}", "reconciler import without --pool shows all")
    chosen = [each for each in live if not wanted or each.name in wanted or each.id in wanted]
    return sorted(chosen, key=lambda each: (each.name, each.id))


def _default_target(place: Place) -> Target:
    if place.sandbox:
        from reconciler import sandbox  # noqa: PLC0415 - a server's imports

        return Target(sandbox.REGION, sandbox.PROJECT_ID)
    settings = read_settings(place)
    if not (settings.region and settings.project_id):
        raise BadInput(
            "which project?", "say --region and --project-id, or set HW_REGION_NAME and HW_PROJECT_ID"
        )
    return Target(settings.region, settings.project_id)


def _slug(pool: Pool, ambiguous: set[str]) -> str:
    """A file name that is safe everywhere; the id makes it unique where the name does not."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", pool.name).strip("-")
    return f"{plain}-{pool.id}" if plain != pool.name or pool.name in ambiguous else plain
