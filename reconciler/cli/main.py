"""The entry point of the command line: turns every error into a message and an exit code.

Commands are left to ``app`` and the files named after them.
"""

from __future__ import annotations

import gc
import os
import sys

from reconciler.cli.stdio import lost_output, tolerate

TYPE_CHECKING = False  # typing itself would be half of what `version` imports
if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.errors import ReconcilerError


def main() -> int:
    """Run the command line; returns the exit code and never prints a traceback, except under RECONCILER_DEBUG."""
    tolerate()
    if sys.argv[1:] in (["version"], ["--version"]):  # needs none of the imports below
        from reconciler import __version__  # noqa: PLC0415

        print(f"reconciler {__version__}", flush=True)
        return 0
    # Ten thousand pools are a million live objects: searching them for cycles takes a fifth of a plan's time.
    gc.set_threshold(200_000, 20, 20)
    import threading  # noqa: PLC0415 - as below, not needed for the version

    code = run_app(sys.argv[1:])
    # A thread may still be resolving a host name; an interrupted run must not wait for it.
    if len(threading.enumerate()) > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def run_app(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code."""
    from reconciler.errors import ExitCode, ReconcilerError  # noqa: PLC0415 - not needed for the version

    code = _run(list(arguments))
    lost = lost_output()
    # A closed pipe (| head -1) is the reader's choice; on a full disk the result is lost, which is an error.
    if lost and not isinstance(lost, BrokenPipeError):
        return code or _failed(
            ReconcilerError(f"the result could not be written: {lost.strerror}"), ExitCode.ERROR
        )
    return code


def _run(arguments: list[str]) -> int:
    from typer.exceptions import TyperException  # noqa: PLC0415 - these imports are the costly ones

    from reconciler.cli.app import app  # noqa: PLC0415
    from reconciler.errors import BadInput, ExitCode, Interrupted, ReconcilerError  # noqa: PLC0415

    try:
        result = app(args=arguments, prog_name="reconciler", standalone_mode=False)
    except ReconcilerError as error:
        return _failed(error, error.exit_code)
    except TyperException as error:
        return _failed(BadInput(error.format_message(), "see reconciler --help"), ExitCode.BAD_INPUT)
    except KeyboardInterrupt:
        return _failed(Interrupted("interrupted"), ExitCode.INTERRUPTED)
    except Exception as error:
        if os.environ.get("RECONCILER_DEBUG"):
            raise
        bug = ReconcilerError(
            f"Internal error ({type(error).__name__}). This is a bug in reconciler",
            "please report it with the output under RECONCILER_DEBUG=1",
        )
        return _failed(bug, ExitCode.ERROR)
    return int(result or 0)


def _failed(error: ReconcilerError, code: int) -> int:
    from reconciler.cli.console import Console  # noqa: PLC0415 - not needed for the version

    Console().error(error)
    return int(code)
