"""``show``: shows a saved plan in any format of ``plan``; reading it is left to ``plan_files``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from reconciler.cli import flags
from reconciler.cli.commands import GIVEN, Given, command
from reconciler.cli.console import Console
from reconciler.cli.outputs import show_plan, write_outputs
from reconciler.cli.parameters import argument
from reconciler.cli.plan_files import load
from reconciler.errors import ExitCode
from reconciler.model import Selection
from reconciler.planning.anonymous import anonymised


@flags.options
def show(
    plan_file: Annotated[Path, argument(help="A plan saved with plan --out.", metavar="PLANFILE")],
    *,
    shown: flags.PlanFormat = flags.Format.TEXT,
    outputs: flags.OutputOptions,
    anonymise: flags.Anonymise = False,
) -> int:
    """Show a saved plan."""
    loaded = load(plan_file)
    if anonymise:
        loaded = anonymised(loaded)
    # A saved plan does not say how its service was named; with an endpoint in the environment nothing has to.
    sandbox = loaded.sandbox and not os.environ.get("RECONCILER_ENDPOINT")
    GIVEN.set(Given(sandbox=sandbox, selection=loaded.selection or Selection()))
    apply = command("apply", [path for path, _ in loaded.sources])
    write_outputs(loaded, outputs, apply)
    show_plan(loaded, shown, Console(), apply)
    return int(ExitCode.DONE)
