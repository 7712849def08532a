"""The list of commands; each command is left to the file named after it."""

from __future__ import annotations

import typer
from typer.main import get_command

from reconciler.cli import (
    apply,
    drift,
    explain,
    history,
    import_,
    init,
    plan,
    report,
    resolve,
    sandbox,
    schema,
    show,
    validate,
    version,
    watch,
)

app = typer.Typer(
    name="reconciler",
    help="Declarative reconciler for the data disks of Huawei Cloud Workspace desktop pools.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command("plan")(plan.plan)
app.command("apply")(apply.apply)
app.command("drift")(drift.drift)
app.command("watch")(watch.watch)
app.command("explain")(explain.explain)
app.command("show")(show.show)
app.command("import")(import_.import_)
app.command("init")(init.init)
app.command("resolve")(resolve.resolve)
app.command("report")(report.report)
app.command("history")(history.history)
app.command("validate")(validate.validate)
app.command("schema")(schema.schema)
app.command("version")(version.version)
app.add_typer(sandbox.app, name="sandbox")

command = get_command(app)
"""All commands, built once: Typer would read every signature again for each line that is run."""
