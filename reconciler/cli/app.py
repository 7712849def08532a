"""The list of commands; each command is left to the file named after it, which is imported when it is called."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from click import Choice, Command, Context, HelpFormatter, Option, Parameter
from click.exceptions import Exit

from reconciler.cli.completion import SHELLS, script
from reconciler.cli.narrow import Group
from reconciler.cli.parameters import SETTINGS

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


class Commands(Group):
    """Commands by name. Importing all of them would take three times as long as running the shortest."""

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:  # noqa: ARG002 - the name is click's
        """Import a command; None where there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        name = "import_" if cmd_name == "import" else cmd_name
        found: Command = getattr(import_module(f"reconciler.cli.{name}"), name)
        return found

    def shell_complete(self, ctx: Context, incomplete: str) -> list[Any]:
        """The commands and flags that begin so, without importing any command."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - only for a shell

        names = [
            CompletionItem(name, help=about)
            for name, about in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*names, *Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:  # noqa: ARG002 - the name is click's
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _show(ctx: Context, _flag: Parameter, shell: str | None) -> None:
    if shell and not ctx.resilient_parsing:  # while a line is completed nothing on it is carried out
        from reconciler.cli.console import Console  # noqa: PLC0415 - the list of commands needs none

        Console().text(script(shell, app))
        raise Exit


_names: dict[str, Any] = dict.fromkeys(COMMANDS)
app = Commands(
    "reconciler",
    _names,  # alone: click suggests from them, and takes the commands from get_command
    help="Declarative reconciler for the data disks of Huawei Cloud Workspace desktop pools.",
    params=[
        Option(
            ["--show-completion"],
            type=Choice(SHELLS),
            help="Print the script that switches on completion in this shell.",
            callback=_show,
            is_eager=True,
            expose_value=False,
        )
    ],
    context_settings=SETTINGS,
)
"""The group of all commands."""
