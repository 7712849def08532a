"""Opens what a command needs: targets with their credentials, the sandbox, the journal.

Reading settings and credentials is left to ``settings`` and ``credentials``.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from reconciler.api.client import WorkspaceClient
from reconciler.api.connect import open_client, open_keys
from reconciler.api.temporary import TemporaryKeys
from reconciler.api.transport import sandbox_transport
from reconciler.cli.console import Console
from reconciler.cli.flags import ConnectionOptions
from reconciler.cli.interlock import Interlock, context
from reconciler.clock import CLOCK
from reconciler.credentials import AccessKeys, Credentials, Identity, Password, Secret, Token
from reconciler.errors import BadInput, CredentialsError, JournalError, ReconcilerError, ServiceError
from reconciler.files import writable_by_others
from reconciler.identity import find_identity, shortened, whom
from reconciler.journal.url import check_url
from reconciler.model import Target, Whom
from reconciler.planner import SIGNATURE_LIFETIME, Connection, Connections
from reconciler.planning.plan import Service, TargetFailure
from reconciler.settings import Settings, default_endpoint, is_loopback
from reconciler.settings import read_settings as settings_from
from reconciler.values import replace
from reconciler.workspace import LiveWorkspace

if TYPE_CHECKING:
    from reconciler.apply.context import RunContext
    from reconciler.apply.stop import Stop
    from reconciler.journal.records import Journal

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(text: str, flag: str) -> timedelta:
    """Read ``90s``, ``15m``, ``1h`` or ``2d``; raises ``BadInput`` naming the flag."""
    found = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", text)
    if not found:
        raise BadInput(f"{flag} {text!r} is not a duration", "use a number with s, m, h or d, such as 30m")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def state_folder() -> Path:
    """The user's state folder, which holds the journal and the sandbox."""
    import platformdirs  # noqa: PLC0415 - only when a path is needed

    try:
        folder = Path(os.environ.get("RECONCILER_STATE_FOLDER") or platformdirs.user_state_dir("reconciler"))
    except RuntimeError:
        folder = Path("~")
    if str(folder).startswith("~"):  # a relative path, which would be made wherever this runs
        raise BadInput(
            "this user has no home folder, so there is no place for the journal and the sandbox",
            "set RECONCILER_STATE_FOLDER, or RECONCILER_JOURNAL where only the journal is needed",
        )
    if folder.is_dir() and writable_by_others(folder):
        raise BadInput(
            f"other users may write the state folder {folder}",
            f"take that right away (chmod go-w {folder}), or set RECONCILER_STATE_FOLDER",
        )
    return folder


def home() -> Path:
    """The user's home folder; without one (a container's user id without a name), a place where nothing is."""
    found = os.path.expanduser("~")
    return Path("/nonexistent" if found.startswith("~") else found)


def new_id() -> str:
    """A random id for a run, a plan or an operation."""
    return str(uuid.uuid4())


@asynccontextmanager
async def connections(
    targets: Iterable[Target], options: ConnectionOptions, interlock: Interlock
) -> AsyncIterator[Connections]:
    """Open every target; one of several that cannot be opened becomes a ``TargetFailure``.

    Raises ``BadInput`` for a region or a project that the interlock does not let pass.
    """
    wanted, settings = list(targets), read_settings(options)
    async with AsyncExitStack() as stack:
        opening = _Opening(settings, interlock, stack)
        opened: dict[Target, Connection | TargetFailure] = {}
        for target in wanted:
            try:
                if options.sandbox:
                    opened[target] = await _open_sandbox(target, settings, stack)
                else:
                    opened[target] = await opening.open(target)
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


class _Opening:
    """Opens the targets of a run, which share the temporary keys of one identity."""

    def __init__(self, settings: Settings, interlock: Interlock, stack: AsyncExitStack) -> None:
        self._settings = settings
        self._interlock = interlock
        self._stack = stack
        self._keys: dict[Credentials, TemporaryKeys | None] = {}

    async def open(self, target: Target) -> Connection:
        """Check one target against its credentials, and connect."""
        clock = CLOCK.get()
        self._interlock.check_region(target, self._settings)
        identity = self._find(target)
        credentials, here = identity.credentials, self._settings.in_region(target.region)
        about = context(self._interlock, target, identity, here)
        keys = await self._keys_of(credentials, here, target, about)
        unsure = await self._interlock.check_project(target, identity, self._settings, keys)
        client = await self._stack.enter_async_context(
            open_client(here, credentials, target, clock, keys=keys, about=about)
        )
        parts = urlsplit(here.endpoint or default_endpoint("workspace", target.region))
        name = parts.netloc
        if is_loopback(parts.hostname or "") and (world_name := await client.announce()):
            name = f"sandbox:{world_name}"
        # A signed request expires after 15 minutes; a request with a token can be replayed for a day.
        lifetime = None if isinstance(credentials, Password | Token) else SIGNATURE_LIFETIME
        workspace = _shown(client)
        service = Service(target, name, whom(identity))
        return Connection(
            service,
            workspace,
            clock,
            lifetime,
            renew=client.renew,
            room=client.budgets.has_room,
            service_time=lambda: client.service_time,
            notes=(unsure,) if unsure else (),
            backups=workspace.backups,
        )

    def _find(self, target: Target) -> Identity:
        try:
            return find_identity(os.environ, home(), target.profile)
        except (BadInput, ServiceError) as error:
            error.hint = (
                f"{error.hint}{'; ' if error.hint else ''}this concerns {self._interlock.named(target)}"
            )
            raise

    async def _keys_of(
        self, credentials: Credentials, here: Settings, target: Target, about: str
    ) -> TemporaryKeys | None:
        if credentials not in self._keys:
            opened = open_keys(here, credentials, target.region, CLOCK.get())
            self._keys[credentials] = await self._stack.enter_async_context(opened)
        keys = self._keys[credentials]
        if keys:
            try:
                await keys.for_reading()
            except CredentialsError as error:
                error.hint = f"{error.hint}; {about}" if error.hint else about
                raise
        return keys


async def _open_sandbox(target: Target, settings: Settings, stack: AsyncExitStack) -> Connection:
    from reconciler import sandbox  # noqa: PLC0415 - a server's imports

    with sandbox_errors():
        store = sandbox.Store.open(sandbox_file(None))
    clock = CLOCK.get()
    app = sandbox.create_app(store, clock=lambda: clock.now().timestamp())
    transport = sandbox_transport(app)
    keys = AccessKeys(sandbox.ACCESS_KEY, Secret(sandbox.SECRET_KEY))
    here = replace(settings, endpoint=sandbox.IN_PROCESS_BASE_URL, cbr_endpoint=sandbox.IN_PROCESS_BASE_URL)
    client = await stack.enter_async_context(open_client(here, keys, target, clock, transport))
    name = f"sandbox:{await client.announce()}"
    own = Whom("access key", "the sandbox itself", access_key=shortened(sandbox.ACCESS_KEY))
    service = Service(target, name, own)
    workspace = _shown(client)
    return Connection(
        service,
        workspace,
        clock,
        room=client.budgets.has_room,
        service_time=lambda: client.service_time,
        backups=workspace.backups,
    )


def _shown(client: WorkspaceClient) -> LiveWorkspace:
    """What makes the calls of a target, such that stderr shows what they wait for and how far jobs are."""
    console = Console()
    workspace = LiveWorkspace(client)
    client.budgets.waits, workspace.jobs_seen = console.waits, console.saw_jobs
    return workspace


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
def journal(options: ConnectionOptions, say: Callable[[str], None] | None = None) -> Iterator[Journal]:
    """Open the journal: by flag, by environment, or a file in the user's state folder; says when it is new.

    When all went well, a step of its upkeep is done at the end. What there is to say goes to ``say``, else to stderr.
    """
    from reconciler.cli.actor import origin  # noqa: PLC0415 - only where something is recorded
    from reconciler.journal.store import open_journal  # noqa: PLC0415 - its import is the costliest

    say, settings = say or Console().info, read_settings(options)
    opened = open_journal(journal_url(options, settings), CLOCK.get().now, say, origin=origin(os.environ))
    try:
        yield opened
        try:
            opened.tidy(settings.keep)
        except JournalError as error:  # what the command did is done all the same
            say(f"Warning: old records of the journal could not be pruned: {error.message}")
    finally:
        opened.close()


def run_context(kept: Journal, console: Console, stop: Stop) -> RunContext:
    """What every run is given that may write; its connections and its rules are added to that."""
    from reconciler.apply.context import RunContext  # noqa: PLC0415 - a plan needs none

    return RunContext(kept, CLOCK.get(), new_id, stop=stop, log=console.info, observer=console.saw)


@contextmanager
def journal_to_read(
    place: ConnectionOptions, say: Callable[[str], None] | None = None
) -> Iterator[Journal | None]:
    """Open the same journal only for reading; None when there is none yet. It is never created or migrated."""
    settings = read_settings(place)
    own = None if settings.journal else _own_journal(place)
    if own and _missing(own):
        yield None
        return
    from reconciler.journal.store import find_journal  # noqa: PLC0415 - its import is the costliest

    found = find_journal(journal_url(place, settings), CLOCK.get().now, say or Console().info)
    try:
        yield found
    finally:
        if found:
            found.close()


def journal_place(place: ConnectionOptions) -> str:
    """Where that journal is, or would be, for messages."""
    settings = read_settings(place)
    if not settings.journal:
        return str(_own_journal(place))
    from reconciler.journal import store  # noqa: PLC0415 - its import is the costliest

    return store.journal_place(journal_url(place, settings))


def journal_url(place: ConnectionOptions, settings: Settings) -> str:
    """The SQLAlchemy URL of that journal, which can contain a password."""
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
