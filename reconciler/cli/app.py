"""The list of commands; each command is left to the file named after it, which is imported when it is called."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

import typer
import typer.core
from typer.main import get_command

from reconciler.cli.completion import Shell, script
from reconciler.cli.narrow import fitting

COMMANDS = {
    "plan": "Show which disks would go, and what that destroys; never writes.",
    "apply": "Carry out a plan after confirmation, and prove the result.",
    "reviewed": "Print the plan that a merged pull request on GitHub approves.",
    "approve": "Sign a plan with an SSH key, for a policy that asks for it.",
    "drift": "Show how far pools are from their manifests.",
    "watch": "Detect drift repeatedly until stopped.",
    "explain": "Show for one pool what matched what, and by which rule.",
    "show": "Show a saved plan.",
    "import": "Write manifests for live pools, which plan without changes.",
    "init": "Write ready-made workflows for a platform.",
    "resolve": "Find out how operations ended that earlier runs left open.",
    "retry": "Have the service finish a removal that was done in part.",
    "report": "Write a page of drift over time.",
    "marks": "List surplus disks that wait, or let one wait longer.",
    "history": "List the runs in the journal, or show one of them in full.",
    "doctor": "Check settings, access, journal and manifests; only reads.",
    "validate": "Check manifests and report every fault of every file.",
    "schema": "Print the JSON Schema of a manifest, or of what commands print.",
    "version": "Print the version.",
    "sandbox": "A simulated service: nothing real is touched.",
}
"""Each command with the line that the list of commands shows for it; its own help says more."""


HELP = {"help_option_names": ["-h", "--help"]}
"""How every command is asked for its help."""


class Commands(typer.core.TyperGroup):
    """Commands by name. Importing all of them would take three times as long as running the shortest."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._loaded: dict[str, Any] = {}
        names: dict[str, Any] = dict.fromkeys(COMMANDS)
        self.commands = names  # names alone, for suggestions; see get_command

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the name is the group's
        """Import a command; None where there is none of this name."""
        if cmd_name in COMMANDS and cmd_name not in self._loaded:
            name = "import_" if cmd_name == "import" else cmd_name
            module = import_module(f"reconciler.cli.{name}")
            self._loaded[cmd_name] = fitting(
                get_command(getattr(module, "app", None) or _alone(getattr(module, name), cmd_name))
            )
        return self._loaded.get(cmd_name)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """The commands and flags that begin so, without importing any command."""
        item: Any = typer.core.CompletionItem  # type: ignore[attr-defined]  # what flags are completed with there
        names = [item(name, help=about) for name, about in COMMANDS.items() if name.startswith(incomplete)]
        return [*names, *super(typer.core.TyperGroup, self).shell_complete(ctx, incomplete)]

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the name is the group's
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _alone(function: Any, name: str) -> typer.Typer:
    one = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=HELP)
    one.command(name)(function)
    return one


app = typer.Typer(
    name="reconciler",
    cls=Commands,
    context_settings=HELP,
    help="Declarative reconciler for the data disks of Huawei Cloud Workspace desktop pools.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show(ctx: typer.Context, shell: Shell | None) -> None:
    if shell and not ctx.resilient_parsing:  # while a line is completed nothing on it is carried out
        from reconciler.cli.console import Console  # noqa: PLC0415 - the list of commands needs none

        Console().text(script(shell))
        raise typer.Exit


@app.callback()
def reconciler(
    show_completion: Annotated[
        Shell | None,
        typer.Option(
            help="Print the script that switches on completion in this shell.",
            callback=_show,
            is_eager=True,
        ),
    ] = None,
) -> None:
    """Declarative reconciler for the data disks of Huawei Cloud Workspace desktop pools."""


command = fitting(get_command(app))
"""The group of all commands, built once: Typer would build it again for each line that is run."""
