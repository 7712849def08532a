"""Stands for one process of the command line, which ``started`` forks: passes on streams, signals and exit code.

Run without packages of its own, as ``python -S -E client.py ADDRESS MODULE ARGUMENT…``, so that it starts in a moment.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # without enums, which cost as much as all the rest
import _socket
import marshal
import os
import sys

PASSED_ON = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP)


def main(address: str, arguments: list[str]) -> int:
    """Have it forked and wait for its end; negative for a signal."""
    _signal.pthread_sigmask(_signal.SIG_BLOCK, PASSED_ON)  # until it is known to whom they go
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    server.connect(address)
    body = marshal.dumps((arguments, os.getcwd(), dict(os.environ)))
    streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
    server.sendmsg([len(body).to_bytes(8, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
    server.sendall(body)
    pid = int.from_bytes(server.recv(8), "big")
    for number in PASSED_ON:
        _signal.signal(number, lambda got, _frame: os.kill(pid, got))
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, PASSED_ON)
    return int.from_bytes(server.recv(8), "big", signed=True)


if __name__ == "__main__":
    code = main(sys.argv[1], sys.argv[2:])
    if code < 0:
        _signal.signal(-code, _signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)
