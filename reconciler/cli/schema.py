"""``schema``: the JSON Schema of a manifest or a policy, or of what a command prints as JSON."""

from __future__ import annotations

from typing import Annotated

import typer

from reconciler.cli import flags
from reconciler.cli.console import Console
from reconciler.errors import BadInput, ExitCode
from reconciler.manifest.schema import json_schema


@flags.options
def schema(
    *,
    plan: Annotated[bool, typer.Option("--plan", help="That of a plan's JSON instead.")] = False,
    apply: Annotated[bool, typer.Option("--apply", help="That of apply's JSON.")] = False,
    drift: Annotated[bool, typer.Option("--drift", help="That of drift's JSON.")] = False,
    history: Annotated[bool, typer.Option("--history", help="That of history's JSON.")] = False,
    resolve: Annotated[bool, typer.Option("--resolve", help="That of resolve's JSON.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="That of explain's JSON.")] = False,
    doctor: Annotated[bool, typer.Option("--doctor", help="That of doctor's JSON.")] = False,
    validate: Annotated[bool, typer.Option("--validate", help="That of validate's JSON.")] = False,
    error: Annotated[bool, typer.Option("--error", help="That of a failure's JSON.")] = False,
    approval: Annotated[bool, typer.Option("--approval", help="That of a signed approval.")] = False,
    marks: Annotated[bool, typer.Option("--marks", help="That of marks' JSON.")] = False,
    policy: Annotated[bool, typer.Option("--policy", help="That of a policy file.")] = False,
) -> int:
    """Print the JSON Schema of a manifest or a policy, for editors, or of what a command prints as JSON."""
    asked = [name for name, given in locals().items() if given]  # the flags are all that has a name here
    if len(asked) > 1:
        raise BadInput("schema prints one schema at a time", f"give only one of --{', --'.join(asked)}")
    if asked == ["policy"]:
        from reconciler.manifest.policy_schema import policy_schema  # noqa: PLC0415 - builds models

        Console().data(policy_schema())
    elif asked:
        from reconciler.render.json.schemas import document_schema  # noqa: PLC0415 - builds every model

        Console().data(document_schema(asked[0]))
    else:
        Console().data(json_schema())
    return int(ExitCode.DONE)
