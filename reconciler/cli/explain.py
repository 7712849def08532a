"""``explain``: shows for one pool what matched what, by which rule, and what every guard measured.

The text is left to ``render.explain``.
"""

from __future__ import annotations

from typing import Annotated

from reconciler.cli import flags
from reconciler.cli.commands import acting_as
from reconciler.cli.console import Console
from reconciler.cli.parameters import argument
from reconciler.cli.plan import PlanRequest, compute_plan, exit_code_of
from reconciler.engine.holds import blocked_code
from reconciler.errors import BadInput, ExitCode
from reconciler.manifest.load import load
from reconciler.planning.anonymous import anonymised
from reconciler.render.explain import explain_lines
from reconciler.render.text import head_lines
from reconciler.values import replace


@flags.options
def explain(
    pool: Annotated[str, argument(help="Name or id of one declared pool.", metavar="POOL")],
    paths: flags.Paths,
    *,
    shown: flags.OutputFormat = flags.Output.TEXT,
    connection: flags.ConnectionOptions,
    anonymise: flags.Anonymise = False,
    follow_symlinks: flags.FollowSymlinks = False,
) -> int:
    """Show for one pool what matched what, by which rule, and what every guard measured."""
    console = Console()
    manifest = load(paths, follow_symlinks=follow_symlinks)
    acting_as(manifest.targets)
    made = compute_plan(manifest, manifest.limits, connection, console, PlanRequest())
    if anonymise:
        made = anonymised(made)
    found = [each for each in made.pools if pool in (each.label, each.desired.id, each.live and each.live.id)]
    if not found and made.failures:  # it may be a pool of the target that could not be read
        return exit_code_of(made, console, detailed=False)
    if not found:
        raise BadInput(f"no manifest declares a pool {pool!r}", "reconciler plan lists the declared pools")
    if shown is flags.Output.JSON:
        from reconciler.render.json.explain import explain_json  # noqa: PLC0415 - one of two forms

        console.json_text(explain_json(made, found))
    else:
        console.lines(head_lines(made))
        for each in found:
            console.lines(explain_lines(made, each))
    own = replace(made, pools=tuple(found))
    return int(blocked_code(own) if own.blocked else ExitCode.DONE)
