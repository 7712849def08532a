"""Stands for one process of the command line, which ``started`` forks: passes on streams, signals and exit code.

Run without packages of its own, as ``python -S -E client.py ADDRESS MODULE ARGUMENT…``, so that it starts in a moment.
"""

from __future__ import annotations

import marshal
import os
import signal
import socket
import sys

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(address: str, arguments: list[str]) -> int:
    """Have it forked and wait for its end; negative for a signal."""
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)  # until it is known to whom they go
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        body = marshal.dumps((arguments, os.getcwd(), dict(os.environ)))
        socket.send_fds(server, [len(body).to_bytes(8, "big")], [0, 1, 2])
        server.sendall(body)
        pid = int.from_bytes(server.recv(8), "big")
        for number in PASSED_ON:
            signal.signal(number, lambda got, _frame: os.kill(pid, got))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
        return int.from_bytes(server.recv(8), "big", signed=True)


if __name__ == "__main__":
    code = main(sys.argv[1], sys.argv[2:])
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)
