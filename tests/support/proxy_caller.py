"""A program: connect to HOST PORT so many times, one after the other, from each of the SOURCES in turn.

    python -I proxy_caller.py HOST PORT COUNT SOURCE...

Writes three doubles for each connection: when it began, when it ended (CLOCK_MONOTONIC), and who answered: the largest
segment that the other end announced, by which listeners are told apart, 0 when the first packet had to be sent again
(it got lost: how long that took says nothing on a busy machine), or minus errno. One system call is one
connection: what answers is in the same kernel, so it has answered before the call returns. Closed by a reset, so that
nothing of it is left at either end.
"""

import array
import os
import socket
import struct
import sys
import time

WAIT_SECONDS = 5
AGAIN, AT = struct.Struct("=I"), 100  # tcpi_total_retrans in struct tcp_info
ABORT = struct.pack("ii", 1, 0)
PATIENCE = struct.pack("ll", WAIT_SECONDS, 0)


def main() -> None:
    host, port, count, *sources = sys.argv[1:]
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    target, callers = (host, int(port)), [(source, 0) for source in sources]
    found = array.array("d")
    for number in range(int(count)):
        found.extend(connect(target, callers[number % len(callers)]))
    sys.stdout.buffer.write(found.tobytes())


def connect(target: tuple[str, int], source: tuple[str, int]) -> tuple[float, float, float]:
    with socket.socket(socket.AF_INET6 if ":" in source[0] else socket.AF_INET) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, PATIENCE)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT: the port is chosen for the whole tuple
        sock.bind(source)
        began = time.monotonic()
        try:
            sock.connect(target)
            (again,) = AGAIN.unpack_from(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, AT + AGAIN.size), AT)
            answer = 0 if again else sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        except OSError as error:
            answer = -(error.errno or 1)
        return began, time.monotonic(), answer


if __name__ == "__main__":
    main()
