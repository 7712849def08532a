"""The entry point of the command line: turns every error into a message and an exit code.

Commands are left to ``app`` and the files named after them.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # without the enums of `signal`, which cost more than printing the version
import gc
import os
import sys

from reconciler.cli.stdio import TolerantStream, lost_output, tolerate, wait_until_written, write_at_once

TYPE_CHECKING = False  # typing itself would be half of what `version` imports
if TYPE_CHECKING:
    from collections.abc import Sequence

    from click.exceptions import UsageError

    from reconciler.errors import ReconcilerError


class _NoPlugins(type(sys)):  # type: ignore[misc]  # the type of modules, without importing `types`
    """Stands for what looks for plugins of pydantic, which imports the email package: a twentieth of `validate`."""

    NAME = "pydantic.plugin._loader"
    get_plugins = tuple
    """Called, it gives none."""

    def __getattr__(self, name: str) -> object:
        """Make way for the real one, should a later pydantic ask it for more."""
        if name.startswith("__"):
            raise AttributeError(name)
        from importlib import import_module  # noqa: PLC0415 - see above

        sys.modules.pop(self.NAME, None)
        return getattr(import_module(self.NAME), name)


def main() -> int:
    """Run the command line as this process; returns the exit code and never lets a traceback through."""
    # Ten thousand pools are a million objects that stay: looking for cycles among them takes a fifth of a plan.
    gc.set_threshold(200_000, 20, 20)
    without_plugins()
    _signal.signal(_signal.SIGTERM, _terminated)  # until the handlers of a command stand
    try:
        code = run(sys.argv[1:])
    except SystemExit as terminated:  # by the handler above, while the output was waited for, perhaps
        os._exit(int(terminated.code or 0))
    except KeyboardInterrupt:  # so early that it hits an import
        code = 130
    # The interpreter would wait for threads: one that still resolves a name, or one whose reader never reads.
    # The version starts none, and does not even import them.
    if "threading" in sys.modules and len(sys.modules["threading"].enumerate()) > 1:
        os._exit(code)
    return code


def without_plugins() -> None:
    """Let nothing stand between a manifest and its check: any installed package can bring a plugin of pydantic."""
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
    sys.modules[_NoPlugins.NAME] = _NoPlugins(_NoPlugins.NAME)


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; the process itself goes on, so tests can call it."""
    tolerate()
    if arguments in (["version"], ["--version"]):  # needs none of the imports below
        from reconciler import __version__  # noqa: PLC0415

        write_at_once(f"reconciler {__version__}\n")
        return 0
    # Asked by a shell, which gives its line and no argument: otherwise this variable, left behind, changes nothing.
    asked = os.environ.get("_RECONCILER_COMPLETE")
    if asked and not arguments and "COMP_WORDS" in os.environ:
        return _complete(asked)
    return run_app(arguments)


def _complete(asked: str) -> int:
    """Print the completions of the command line in the environment; no fault ever reaches the person who types."""
    from contextlib import redirect_stderr  # noqa: PLC0415 - none of this is needed but for a shell
    from io import StringIO  # noqa: PLC0415

    with redirect_stderr(StringIO()):
        try:
            from reconciler.cli.app import app  # noqa: PLC0415
            from reconciler.cli.completion import completions  # noqa: PLC0415

            sys.stdout.write(f"{completions(asked, app)}\n")
        except (Exception, KeyboardInterrupt):
            return 1  # no completion is better than a message in the middle of a line
    wait_until_written()
    return 0


def run_app(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code."""
    from reconciler.errors import ExitCode, ReconcilerError  # noqa: PLC0415 - not needed for the version
    from reconciler.redaction import forget, know, redact  # noqa: PLC0415
    from reconciler.settings import secrets_of, secrets_of_flags  # noqa: PLC0415

    forget()
    know(*secrets_of(os.environ), *secrets_of_flags(arguments))
    if isinstance(sys.stderr, TolerantStream):
        sys.stderr.clean = redact
    try:
        code = _run(list(arguments))
        if not wait_until_written():
            return code or int(ExitCode.TERMINATED)  # its result has reached nobody
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)
    lost = lost_output()
    # A closed pipe (| head -1) is the reader's choice; on a full disk the result is lost, which is an error.
    if lost and not isinstance(lost, BrokenPipeError):
        _failed(ReconcilerError(f"the result could not be written: {lost.strerror}"), ExitCode.ERROR)
        wait_until_written()
        return code or int(ExitCode.ERROR)
    return code


def _terminated(_number: int, _frame: object) -> None:
    raise SystemExit(143)


def _run(arguments: list[str]) -> int:
    """The exit code of one command line, which a workflow of GitHub gets as an output too."""
    from reconciler.cli.commands import forget_flags  # noqa: PLC0415 - not needed for the version
    from reconciler.cli.console import Console, forget_output  # noqa: PLC0415

    forget_output()
    forget_flags()
    code = _called(arguments)
    if os.environ.get("GITHUB_OUTPUT") and arguments and arguments[0] in _WITH_OUTPUTS:
        from reconciler.cli.outputs import github_outputs  # noqa: PLC0415 - only under GitHub Actions

        github_outputs({"exit_code": code}, Console())
    return code


_WITH_OUTPUTS = frozenset({"plan", "apply", "drift", "validate"})
"""Commands that tell a workflow of GitHub how they ended."""


def _called(arguments: list[str]) -> int:
    from click.exceptions import Exit, UsageError  # noqa: PLC0415 - not needed for the version

    from reconciler.cli.app import app  # noqa: PLC0415
    from reconciler.errors import ExitCode, Interrupted, ReconcilerError  # noqa: PLC0415

    try:
        with app.make_context("reconciler", [*arguments]) as line:
            return int(app.invoke(line))
    except Exit as ended:  # by --help, or --show-completion
        return ended.exit_code
    except ReconcilerError as error:
        return _failed(error, error.exit_code, arguments)
    except UsageError as error:
        return _misused(error, arguments)
    except KeyboardInterrupt:
        return _failed(Interrupted("interrupted"), ExitCode.INTERRUPTED, arguments)
    except Exception as error:
        if os.environ.get("RECONCILER_DEBUG"):
            import traceback  # noqa: PLC0415 - only here

            sys.stderr.write("".join(traceback.format_exception(error)))
        bug = ReconcilerError(
            f"Internal error ({type(error).__name__}). This is a bug in reconciler",
            "please report it with the output under RECONCILER_DEBUG=1",
        )
        return _failed(bug, ExitCode.ERROR, arguments)


def _misused(error: UsageError, arguments: Sequence[str]) -> int:
    from click.exceptions import NoArgsIsHelpError  # noqa: PLC0415 - imported long ago

    from reconciler.errors import BadInput, ExitCode  # noqa: PLC0415

    if isinstance(error, NoArgsIsHelpError):  # no fault to name: the help says what there is
        sys.stderr.write(f"{error.message}\n")
        return int(ExitCode.BAD_INPUT)
    command = error.ctx.command_path if error.ctx else "reconciler"
    bad = BadInput(error.format_message(), f"see {command} --help")
    return _failed(bad, ExitCode.BAD_INPUT, arguments)


def _failed(error: ReconcilerError, code: int, arguments: Sequence[str] = ()) -> int:
    from reconciler.cli.console import Console, has_printed  # noqa: PLC0415 - not needed for the version

    console = Console()
    console.error(error)
    if arguments and arguments[0] in _WITH_OUTPUTS:
        from reconciler.cli.outputs import show_faults  # noqa: PLC0415 - costly

        show_faults(error, console)
    if _as_json(arguments) and not has_printed():
        from reconciler.render.json.error import error_json  # noqa: PLC0415 - builds models

        console.json_text(error_json(error, int(code)))
    return int(code)


def _as_json(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for JSON, as far as can be known where the command could not read it."""
    asked = ""
    for at, each in enumerate(arguments):
        if each == "--":
            break
        if each == "--format":
            asked = arguments[at + 1] if at + 1 < len(arguments) else ""
        elif each.startswith("--format="):
            asked = each.removeprefix("--format=")
    return asked == "json"  # of several the last one counts, as where the command reads them
