"""Owns the list of commands; each module adds its own."""

from __future__ import annotations

import typer

from reconciler.cli import (
    applying,
    asking,
    drifting,
    importing,
    initializing,
    planning,
    sandboxing,
    trending,
    watching,
)

app = typer.Typer(
    name="reconciler",
    help="Declarative reconciler for the data disks of Huawei Cloud Workspace desktop pools.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command("plan")(planning.plan)
app.command("apply")(applying.apply)
app.command("drift")(drifting.drift)
app.command("watch")(watching.watch)
app.command("explain")(planning.explain)
app.command("show")(planning.show)
app.command("import")(importing.import_)
app.command("init")(initializing.init)
app.command("resolve")(applying.resolve)
app.command("report")(trending.report)
app.command("history")(asking.history)
app.command("validate")(asking.validate)
app.command("schema")(asking.schema)
app.command("version")(asking.version)
app.add_typer(sandboxing.app, name="sandbox")
