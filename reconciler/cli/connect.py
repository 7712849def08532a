"""Opens what a command needs: targets with their credentials, the sandbox, the journal.

Reading settings and credentials is left to ``settings`` and ``credentials``.
"""

from __future__ import annotations

import dataclasses
import os
import re
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from reconciler.api.connect import open_client
from reconciler.api.transport import sandbox_transport
from reconciler.cli.console import Console
from reconciler.cli.flags import ConnectionOptions
from reconciler.clock import CLOCK, Clock
from reconciler.credentials import AccessKeys, Metadata, Secret, find_identity
from reconciler.errors import BadInput, JournalError, ReconcilerError, ServiceError
from reconciler.journal.url import check_url
from reconciler.model import Target
from reconciler.planner import SIGNATURE_LIFETIME, Connection, Connections
from reconciler.planning.plan import Service, TargetFailure
from reconciler.settings import Settings, default_endpoint, is_loopback
from reconciler.settings import read_settings as settings_from
from reconciler.workspace import LiveWorkspace

if TYPE_CHECKING:
    from reconciler.journal.records import Journal

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(text: str, flag: str) -> timedelta:
    """Read ``90s``, ``15m``, ``1h`` or ``2d``; raises ``BadInput`` naming the flag."""
    found = re.fullmatch(r"([1-9]\d{0,5})([smhd])", text)
    if not found:
        raise BadInput(f"{flag} {text!r} is not a duration", "use a number with s, m, h or d, such as 30m")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def state_folder() -> Path:
    """The user's state folder, which holds the journal and the sandbox."""
    import platformdirs  # noqa: PLC0415 - only when a path is needed

    return Path(os.environ.get("RECONCILER_STATE_FOLDER") or platformdirs.user_state_dir("reconciler"))


def new_id() -> str:
    """A random id for a run, a plan or an operation."""
    return str(uuid.uuid4())


@asynccontextmanager
async def connections(
    targets: Iterable[Target], options: ConnectionOptions, settings: Settings
) -> AsyncIterator[Connections]:
    """Open every target; one of several that cannot be opened becomes a ``TargetFailure``.

    Raises ``BadInput`` when the credentials are for another project than the manifest: a safety interlock.
    """
    wanted = list(targets)
    async with AsyncExitStack() as stack:
        opened: dict[Target, Connection | TargetFailure] = {}
        for target in wanted:
            try:
                opened[target] = await _open(target, options, settings, stack)
            except ServiceError as error:
                if len(wanted) == 1:
                    raise
                opened[target] = TargetFailure(target, error.message, error.hint, int(error.exit_code))
        yield opened


def read_settings(options: ConnectionOptions) -> Settings:
    """Settings from flags and environment."""
    settings = settings_from(os.environ, endpoint=options.endpoint, journal=options.journal)
    if settings.journal:
        check_url(settings.journal)  # here, so that commands that do not open the journal refuse it too
    return settings


async def _open(
    target: Target, options: ConnectionOptions, settings: Settings, stack: AsyncExitStack
) -> Connection:
    clock = CLOCK.get()
    if options.sandbox:
        return await _open_sandbox(target, settings, stack)
    identity = find_identity(os.environ, Path.home(), target.profile)
    if identity.project_id and identity.project_id != target.project_id:
        raise BadInput(
            f"the manifest is for project {target.project_id}, the credentials ({identity.source}) are for "
            f"project {identity.project_id}",
            "use credentials of the manifest's project, or fix target.project_id; the two must be equal",
        )
    here = settings.in_region(target.region)
    client = await stack.enter_async_context(open_client(here, identity.credentials, target, clock))
    base = here.endpoint or default_endpoint("workspace", target.region)
    parts = urlsplit(base)
    name = parts.netloc
    if is_loopback(parts.hostname or "") and (world_name := await client.announce()):
        name = f"sandbox:{world_name}"
    # A signed request expires after 15 minutes; a request with a token can be replayed for a day.
    bounded = isinstance(identity.credentials, AccessKeys | Metadata)
    lifetime = SIGNATURE_LIFETIME if bounded else None
    return Connection(Service(target, name), LiveWorkspace(client), lifetime)


async def _open_sandbox(target: Target, settings: Settings, stack: AsyncExitStack) -> Connection:
    from reconciler import sandbox  # noqa: PLC0415 - a server's imports

    with sandbox_errors():
        store = sandbox.Store.open(sandbox_file(None))
    clock = CLOCK.get()
    app = sandbox.create_app(store, clock=lambda: clock.now().timestamp())
    transport = sandbox_transport(app)
    keys = AccessKeys(sandbox.ACCESS_KEY, Secret(sandbox.SECRET_KEY))
    here = dataclasses.replace(settings, endpoint=sandbox.IN_PROCESS_BASE_URL)
    client = await stack.enter_async_context(open_client(here, keys, target, clock, transport))
    name = f"sandbox:{await client.announce()}"
    return Connection(Service(target, name), LiveWorkspace(client))


@contextmanager
def sandbox_errors() -> Iterator[None]:
    """Turn an error of the sandbox, which shares no code with the rest, into a ``ReconcilerError``."""
    from reconciler.sandbox import SandboxError  # noqa: PLC0415 - a server's imports

    try:
        yield
    except (SandboxError, OSError) as error:
        raise ReconcilerError(f"the sandbox cannot be used: {error}", "reconciler sandbox reset") from None


def sandbox_file(given: Path | None) -> Path:
    """Where the sandbox keeps its state."""
    return given or state_folder() / "sandbox.json"


def own_sandbox(place: ConnectionOptions) -> list[str]:
    """The name of the service behind ``--sandbox``, as connections have it; empty without that flag."""
    if not place.sandbox:
        return []
    from reconciler import sandbox  # noqa: PLC0415 - a server's imports

    with sandbox_errors():
        store = sandbox.Store.open(sandbox_file(None))
        with store.reading(CLOCK.get().now().timestamp()) as world:
            return [f"sandbox:{store.name_of(world)}"]


@contextmanager
def journal(options: ConnectionOptions, settings: Settings, clock: Clock) -> Iterator[Journal]:
    """Open the journal: by flag, by environment, or a file in the user's state folder; says when it is new.

    When all went well, a step of its upkeep is done at the end.
    """
    from reconciler.journal.store import open_journal  # noqa: PLC0415 - its import is the costliest

    opened = open_journal(_journal_url(options, settings), clock.now, Console().info)
    try:
        yield opened
        try:
            opened.tidy(settings.keep)
        except JournalError as error:  # what the command did is done all the same
            Console().info(f"Warning: old records of the journal could not be pruned: {error.message}")
    finally:
        opened.close()


@contextmanager
def journal_to_read(place: ConnectionOptions, settings: Settings, clock: Clock) -> Iterator[Journal | None]:
    """Open the same journal only for reading; None when there is none yet. It is never created or migrated."""
    own = None if settings.journal else _own_journal(place)
    if own and _missing(own):
        yield None
        return
    from reconciler.journal.store import find_journal  # noqa: PLC0415 - its import is the costliest

    found = find_journal(_journal_url(place, settings), clock.now)
    try:
        yield found
    finally:
        if found:
            found.close()


def journal_place(place: ConnectionOptions, settings: Settings) -> str:
    """Where that journal is, or would be, for messages."""
    if not settings.journal:
        return str(_own_journal(place))
    from reconciler.journal import store  # noqa: PLC0415 - its import is the costliest

    return store.journal_place(_journal_url(place, settings))


def _journal_url(place: ConnectionOptions, settings: Settings) -> str:
    return settings.journal or f"sqlite:///{_own_journal(place)}"


def _own_journal(place: ConnectionOptions) -> Path:
    """The file in the user's state folder where a journal is kept unless another place is given."""
    return state_folder() / ("sandbox-journal.db" if place.sandbox else "journal.db")


def _missing(file: Path) -> bool:
    """Whether there is no such file for certain; any other trouble is for the database to name."""
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
