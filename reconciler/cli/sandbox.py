"""``sandbox serve|reset|state``: serves the simulated service, resets it, or prints its state.

The service itself is left to the package ``sandbox``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from reconciler.cli import flags
from reconciler.cli.connect import sandbox_errors, sandbox_file
from reconciler.cli.console import Console
from reconciler.cli.narrow import Group
from reconciler.cli.parameters import SETTINGS, flag
from reconciler.clock import CLOCK
from reconciler.errors import ExitCode

State = Annotated[
    Path | None,
    flag("--state", help="State file of the sandbox.", metavar="FILE", show_default=False),
]


@flags.options
def serve(
    host: Annotated[str, flag(help="Loopback address to listen on.", metavar="ADDRESS")] = "127.0.0.1",
    port: Annotated[int, flag(min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    state: State = None,
) -> int:
    """Serve the sandbox over TCP on this machine."""
    from reconciler import sandbox  # noqa: PLC0415 - a server's imports
    from reconciler.sandbox.serve import serve as run  # noqa: PLC0415 - a server's imports

    console = Console()

    with sandbox_errors():
        store = sandbox.Store.open(sandbox_file(state))
        with store.reading(CLOCK.get().now().timestamp()) as world:
            projects = list(world["projects"])

    def ready(url: str) -> None:
        lines = [
            f"SANDBOX: a simulated service at {url}; nothing real is touched. Stop it with Ctrl-C.",
            f"export RECONCILER_ENDPOINT={url}",
            f"export RECONCILER_IAM_ENDPOINT={url}",
            f"export HUAWEICLOUD_SDK_AK={sandbox.ACCESS_KEY}",
            f"export HUAWEICLOUD_SDK_SK={sandbox.SECRET_KEY}",
        ]
        # With several projects, the keys are for none in particular: IAM tells which they reach.
        lines += [f"export HUAWEICLOUD_SDK_PROJECT_ID={each}" for each in projects if len(projects) == 1]
        console.text("\n".join(lines))

    with sandbox_errors():
        run(host, port, store, ready)
    return int(ExitCode.DONE)


@flags.options
def reset(state: State = None) -> int:
    """Reset the sandbox to its initial state."""
    from reconciler import sandbox  # noqa: PLC0415 - a server's imports

    with sandbox_errors():
        sandbox.reset(sandbox_file(state))
    Console().note("Sandbox reset.")
    return int(ExitCode.DONE)


@flags.options
def state(state: State = None) -> int:
    """Print the sandbox's state: pools, jobs, and a record of every write."""
    from reconciler import sandbox  # noqa: PLC0415 - a server's imports

    with sandbox_errors():
        values = sandbox.state(sandbox_file(state), CLOCK.get().now().timestamp())
    Console().data(values)
    return int(ExitCode.DONE)


sandbox = Group(
    "sandbox",
    [serve, reset, state],
    help="A simulated service: nothing real is touched.",
    context_settings=SETTINGS,
)
