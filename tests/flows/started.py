"""The command line as processes that start in a moment: forks of a server that has imported it once.

For tests that need many processes with streams, a terminal or signals of their own. How Python itself starts and
ends, its encodings and its memory are for those that start ``python -m reconciler`` as users do.

They go by the machine's clock, unless their environment has ``skipping``: then they skip what they wait for.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import gc
import hashlib
import importlib
import io
import marshal
import os
import pkgutil
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import reconciler

if TYPE_CHECKING:
    from tests.flows.skipping import SkippingClock
else:  # what is installed for another Python has no tests: this is the file beside this one
    SkippingClock = runpy.run_path(str(Path(__file__).with_name("skipping.py")))["SkippingClock"]

ROOT = Path(__file__).parents[2]
CLIENT = Path(__file__).with_name("client.py")
_SKIPPED = "STARTED_SKIPPED"


def command(module: str = "reconciler") -> list[str]:
    """What to start in the place of ``python -m reconciler``, or of another module of ours."""
    return [sys.executable, "-S", "-E", str(CLIENT), server(), module]


@functools.cache
def server(python: str = "") -> str:
    """The address of a server; with ``python``, of what is installed for that one.

    All processes of a session that test share it. It ends after the last that asked for it, however that ends.
    """
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex
    name = hashlib.sha256(f"{session} {python}".encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir(), f"started{name}")
    with _held(folder):
        if (folder / "socket").exists():
            os.open(folder / "needed", os.O_WRONLY)  # until this process ends
        else:
            _start(folder, python)
    return f"{folder}/socket"


def _start(folder: Path, python: str) -> None:
    os.mkfifo(folder / "needed")
    needed = os.open(folder / "needed", os.O_RDONLY | os.O_NONBLOCK)
    os.open(folder / "needed", os.O_WRONLY)  # as above
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"}
    itself = [python, "-I", __file__] if python else [sys.executable, "-m", "tests.flows.started"]
    process = subprocess.Popen([*itself, str(folder)], env=env, stdin=needed, stdout=subprocess.PIPE)
    os.close(needed)
    assert process.stdout
    with process.stdout as said:
        assert said.readline() == b"ready\n"
    process.returncode = (
        0  # others may need it for longer: nobody waits for its end, of which Popen would warn
    )


def _held(folder: Path) -> TextIO:
    """The lock of a folder, which the first that needs it makes, and the server removes when it ends."""
    while True:
        with contextlib.suppress(FileNotFoundError), contextlib.ExitStack() as opened:
            folder.mkdir(mode=0o700, exist_ok=True)
            lock = opened.enter_context((folder / "lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(lock.fileno()), (folder / "lock").stat()):
                opened.pop_all()
                return lock


@contextlib.contextmanager
def skipping(time: SkippingClock) -> Iterator[dict[str, str]]:
    """What to add to an environment whose command lines begin at this time, and skip what they wait for.

    Afterwards this time is the latest at which one of them has ended.
    """
    with tempfile.NamedTemporaryFile("r") as notes:
        _note(notes.name, time.skipped)
        yield {_SKIPPED: notes.name}
        time.skipped = max(time.skipped, _noted(notes.name))


def _note(path: str, skipped: float) -> None:
    with Path(path).open("a") as notes:  # at once, whoever else does
        notes.write(f"{skipped}\n")


def _noted(path: str) -> float:
    return max(map(float, Path(path).read_text().split()))


def serve(folder: Path) -> None:
    """Fork a command line for each client, until nobody needs this server: standard input then ends."""
    _make_ready()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen(64)
        ended, wake = socket.socketpair()
        wake.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(wake.fileno())
        print("ready", flush=True)
        clients = dict[int, socket.socket]()
        found: list[Any] = []
        while not (sys.stdin in found and _removed(folder)):
            found = select.select([sys.stdin, listener, ended, *clients.values()], [], [])[0]
            _kill([each for each, client in clients.items() if client in found], clients)
            if ended in found:
                ended.recv(64)
            while clients and (died := os.waitpid(-1, os.WNOHANG))[0]:
                _tell_end(clients.pop(died[0]), died[1])
            if listener in found:
                _begin(listener.accept()[0], clients, (listener, ended, wake))
    _kill(list(clients), clients)


def _removed(folder: Path) -> bool:
    """Remove the folder, unless somebody needs it by now."""
    with _held(folder):
        if needless := bool(select.select([sys.stdin], [], [], 0)[0]):
            shutil.rmtree(folder)
        return needless


def _kill(pids: Iterable[int], clients: dict[int, socket.socket]) -> None:
    """End these forks, as their clients were."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        _tell_end(clients.pop(pid), os.waitpid(pid, 0)[1])


def _make_ready() -> None:
    """Do once what each process would do anew whatever it is asked."""
    gc.disable()  # what is made here stays
    for name in ("jinja2", "psycopg", "starlette.applications", "uvicorn"):
        importlib.import_module(name)
    for module in pkgutil.walk_packages(reconciler.__path__, "reconciler."):
        if module.name != "reconciler.__main__":
            importlib.import_module(module.name)
    runpy.run_path(str(Path(__file__).with_name("ready.py")))
    for template in ("plan.html.j2", "trend.html.j2"):
        with contextlib.suppress(sys.modules["jinja2"].UndefinedError):  # as it is given nothing to show
            sys.modules["reconciler.render.page"].render_page(template, (), {})
    gc.collect()
    gc.freeze()  # forks share what is never collected
    gc.enable()


def _begin(client: socket.socket, clients: dict[int, socket.socket], own: Iterable[socket.socket]) -> None:
    """Fork the command line of a client."""
    try:
        head, streams, _, _ = socket.recv_fds(client, 8, 3)
        with client.makefile("rb") as rest:
            request = marshal.loads(rest.read(int.from_bytes(head, "big")))
    except (OSError, EOFError):
        client.close()  # it was killed
        return
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for each in (*own, client, *clients.values()):
            each.close()
        _become(request, streams)
    for stream in streams:
        os.close(stream)
    clients[pid] = client
    _tell(client, pid)


def _tell_end(client: socket.socket, status: int) -> None:
    _tell(client, os.waitstatus_to_exitcode(status))
    client.close()


def _tell(client: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):  # it was killed
        client.sendall(number.to_bytes(8, "big", signed=True))


def _become(request: Any, streams: list[int]) -> NoReturn:
    """Be the command line that the client stands for."""
    code = 1
    try:
        (module, *arguments), folder, env = request
        os.environ.clear()
        os.environ.update(env)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(folder)
        sys.stdin = _stream(0, "r", "surrogateescape")
        sys.stdout = _stream(1, "w", "surrogateescape")
        sys.stderr = _stream(2, "w", "backslashreplace")
        sys.argv = [module, *arguments]
        if module == "reconciler":
            code = _command_line(env.get(_SKIPPED))
        else:
            runpy.run_module(module, run_name="__main__")
            code = 0
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(code)


def _command_line(notes: str | None) -> int:
    from reconciler.cli.main import main  # noqa: PLC0415 - imported long ago
    from reconciler.clock import CLOCK  # noqa: PLC0415 - imported long ago

    if not notes:
        return main()
    CLOCK.set(clock := SkippingClock(_noted(notes)))
    try:
        return main()
    finally:
        _note(notes, clock.skipped)


def _stream(number: int, mode: str, errors: str) -> io.TextIOWrapper:
    terminal = os.isatty(number) or number == 2
    raw = io.FileIO(number, mode, closefd=False)
    buffer: Any = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, encoding="utf-8", errors=errors, line_buffering=terminal)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
