"""``show``: shows a saved plan in any format of ``plan``; reading it is left to ``plan_files``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli import flags
from reconciler.cli.console import Console
from reconciler.cli.outputs import show_plan, write_outputs
from reconciler.cli.plan_files import load
from reconciler.errors import ExitCode


@flags.options
def show(
    plan_file: Annotated[Path, typer.Argument(help="A plan saved with plan --out.", metavar="PLANFILE")],
    *,
    shown: flags.PlanFormat = flags.Format.TEXT,
    outputs: flags.OutputOptions,
) -> int:
    """Show a saved plan."""
    loaded = load(plan_file)
    write_outputs(loaded, outputs)
    show_plan(loaded, shown, Console())
    return int(ExitCode.DONE)
