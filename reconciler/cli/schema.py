"""``schema``: prints the JSON Schema of a manifest, or of this program's own JSON.

The schemas are left to ``manifest.schema`` and ``render.schema``.
"""

from __future__ import annotations

from typing import Annotated

import typer

from reconciler.cli import flags
from reconciler.cli.console import Console
from reconciler.errors import ExitCode
from reconciler.manifest.schema import json_schema
from reconciler.render.schema import plan_schema


@flags.options
def schema(
    plan: Annotated[bool, typer.Option("--plan", help="The schema of a plan's JSON instead.")] = False,
) -> int:
    """Print the JSON Schema of a manifest, for editors."""
    Console().data(plan_schema() if plan else json_schema())
    return int(ExitCode.DONE)
