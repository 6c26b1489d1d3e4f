"""A tiny single-threaded process that forks containers and execs: `python -I -S zygote.py FD`.

Forking from it costs half a millisecond where starting an interpreter costs 27, and its children share its memory.
FD is a SEQPACKET socket; each request is one JSON datagram with file descriptors beside it, the first of which is a
socket for the answer. The child answers, never the zygote: a slow start delays nobody. It ends with its socket; its
children (the shims) go on. Standard library only.
"""

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from . import inside, kernel, shim
else:
    import inside
    import kernel
    import shim

_NAMESPACES = (("net", kernel.NEWNET), ("uts", kernel.NEWUTS), ("ipc", kernel.NEWIPC), ("pid", kernel.NEWPID))


def start(request: "dict[str, Any]", reply: socket.socket, fds: "list[int]") -> "NoReturn":
    """Start the container whose directory the request names."""
    shim.keep(request["directory"], reply)


def execute(request: "dict[str, Any]", reply: socket.socket, fds: "list[int]") -> "NoReturn":
    """Run a command in the namespaces of a running container with its privileges.

    Answers {"pid"} (with the terminal's master when one is asked for) or {"error"}, then {"exit_code"}. When the answer
    socket is closed by the agent the command is killed.
    """
    os.setsid()
    kernel.set_name("pyb-exec")
    with open(request["directory"] + "/spec.json", "rb") as file:
        spec: dict[str, Any] = json.load(file)
    of = f"/proc/{request['pid']}/ns/"
    mounts = os.open(of + "mnt", os.O_RDONLY | os.O_CLOEXEC)
    for name, kind in _NAMESPACES:
        kernel.enter(of + name, kind)
    errors, errors_in = os.pipe()
    pid = os.fork()
    if pid == 0:
        _enter(request, spec, mounts, errors_in, reply, fds)
    for fd in {*fds, errors_in, mounts}:
        os.close(fd)
    process = os.pidfd_open(pid)
    error = shim.read_all(errors).decode("utf-8", "replace")
    reply.send(json.dumps({"error": error} if error else {"pid": pid}).encode())
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.register(reply, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == process:
                _, status = os.waitpid(pid, 0)
                code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
                with contextlib.suppress(OSError):
                    reply.send(json.dumps({"exit_code": code}).encode())
                os._exit(0)
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, signal.SIGKILL)
            poll.unregister(reply)


def _enter(
    request: "dict[str, Any]", spec: "dict[str, Any]", mounts: int, errors: int, reply: socket.socket, fds: "list[int]"
) -> "NoReturn":
    try:
        inside.join_cgroups(spec)
        os.setsid()
        kernel.setns(mounts, kernel.NEWNS, "the container's mounts")
        environment = spec["environment"]
        if request["tty"]:
            environment.setdefault("TERM", "xterm")
            inside.attach_tty(lambda master: kernel.send_fds(reply, b'{"terminal": true}', [master]))
        else:
            for number, fd in enumerate(fds):
                os.dup2(fd, number)
        inside.limit_and_execute(spec, request["argv"], environment)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the agent must read it
        inside.fail(errors, error)


def probe(request: "dict[str, Any]", reply: socket.socket, fds: "list[int]") -> "NoReturn":
    """Say what this node can do: whether an overlay over / can be mounted, in a mount namespace of its own."""
    base = request["directory"]
    answer = {"overlay": True, "why": ""}
    try:
        kernel.unshare(kernel.NEWNS)
        kernel.mount("", "/", flags=kernel.REC | kernel.SLAVE)
        kernel.mount("tmpfs", base, "tmpfs")
        os.mkdir(base + "/root")
        inside.overlay(base, "0", "/", base + "/root")
    except OSError as error:
        answer = {"overlay": False, "why": str(error.args[1])}
    reply.send(json.dumps(answer).encode())
    os._exit(0)


_OPERATIONS = {"start": start, "exec": execute, "probe": probe}


def _serve(request: bytes, fds: "list[int]") -> "NoReturn":
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    reply = socket.socket(fileno=fds[0])
    try:
        values = json.loads(request)
        _OPERATIONS[values["op"]](values, reply, fds[1:])
    except BaseException as error:  # noqa: BLE001 - whatever it is, the agent must read it
        text = str(error.args[1]) if isinstance(error, OSError) and len(error.args) > 1 else repr(error)
        with contextlib.suppress(OSError):
            reply.send(json.dumps({"error": text}).encode())
    finally:
        os._exit(1)


def main(fd: int) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped by the kernel
    kernel.set_name("pyb-zygote")
    control = socket.socket(fileno=fd)
    gc.collect()
    gc.freeze()
    while True:
        request, fds, _, _ = socket.recv_fds(control, 1 << 20, 8, socket.MSG_CMSG_CLOEXEC)
        if not request:
            return
        if os.fork() == 0:
            control.close()
            _serve(request, fds)
        for one in fds:
            os.close(one)


if __name__ == "__main__":
    main(int(sys.argv[1]))
