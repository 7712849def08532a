"""``schema``: the JSON Schema of a manifest or a policy, or of what a command prints as JSON."""

from __future__ import annotations

from typing import Annotated

from reconciler.cli import flags
from reconciler.cli.console import Console
from reconciler.cli.parameters import flag
from reconciler.errors import BadInput, ExitCode
from reconciler.manifest.schema import json_schema


@flags.options
def schema(
    *,
    plan: Annotated[bool, flag("--plan", help="That of a plan's JSON instead.")] = False,
    apply: Annotated[bool, flag("--apply", help="That of apply's JSON.")] = False,
    drift: Annotated[bool, flag("--drift", help="That of drift's JSON.")] = False,
    history: Annotated[bool, flag("--history", help="That of history's JSON.")] = False,
    resolve: Annotated[bool, flag("--resolve", help="That of resolve's JSON.")] = False,
    explain: Annotated[bool, flag("--explain", help="That of explain's JSON.")] = False,
    doctor: Annotated[bool, flag("--doctor", help="That of doctor's JSON.")] = False,
    validate: Annotated[bool, flag("--validate", help="That of validate's JSON.")] = False,
    error: Annotated[bool, flag("--error", help="That of a failure's JSON.")] = False,
    approval: Annotated[bool, flag("--approval", help="That of a signed approval.")] = False,
    marks: Annotated[bool, flag("--marks", help="That of marks' JSON.")] = False,
    policy: Annotated[bool, flag("--policy", help="That of a policy file.")] = False,
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
