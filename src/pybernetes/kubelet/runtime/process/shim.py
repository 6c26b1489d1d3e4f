"""The parent of one container: waits for it, keeps its log in the CRI format, writes how it ended.

Forked from the zygote, in a session of its own: it survives the agent and the zygote. It leaves two files in the
container's directory, each written at once (rename): `running.json` and `exit.json`. `attach` is a socket of frames
(channel byte, 4-byte length, data): 0 stdin (empty: end), 1 stdout, 2 stderr, 4 size as two 2-byte numbers.
Standard library only.
"""

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import struct
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from . import inside, kernel
else:
    import inside
    import kernel

_CHUNK = 65536
_LINE_LIMIT = 16384
_CLIENT_BUFFER = 1 << 20
_PIPE_SIZE = 1 << 18


class Log:
    """Lines as `TIME STREAM F TEXT`; P marks a part of a line longer than 16 KiB. Renames by size."""

    def __init__(self, path: str, *, max_bytes: int, files: int) -> None:
        self.path, self.max_bytes, self.files = path, max_bytes, files
        self.fd = -1
        self.size = 0
        self.rest: dict[str, bytes] = {}
        if path:
            self._open()

    def _open(self) -> None:
        self.fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self.size = os.fstat(self.fd).st_size

    def write(self, stream: str, data: bytes) -> None:
        if self.fd < 0:
            return
        *lines, rest = (self.rest.pop(stream, b"") + data).split(b"\n")
        entries = [part for line in lines for part in _parts(line, whole=True)]
        if len(rest) >= _LINE_LIMIT:
            pieces = _parts(rest, whole=False)
            rest = pieces.pop()[1]
            entries += pieces
        if rest:
            self.rest[stream] = rest
        self._append(stream, entries)

    def close(self) -> None:
        for stream, rest in list(self.rest.items()):
            self._append(stream, [(b"F", rest)])
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _append(self, stream: str, entries: "list[tuple[bytes, bytes]]") -> None:
        if not entries:
            return
        head = _stamp() + b" " + stream.encode() + b" "
        data = b"".join([head + mark + b" " + text + b"\n" for mark, text in entries])
        if self.size and self.size + len(data) > self.max_bytes:
            self._rotate()
        try:
            os.write(self.fd, data)
        except OSError:
            return  # a full disk must not stop the container
        self.size += len(data)

    def _rotate(self) -> None:
        os.close(self.fd)
        for number in range(self.files - 1, 0, -1):
            older = f"{self.path}.{number - 1}" if number > 1 else self.path
            with contextlib.suppress(FileNotFoundError):
                os.replace(older, f"{self.path}.{number}")
        self._open()


def _parts(line: bytes, *, whole: bool) -> "list[tuple[bytes, bytes]]":
    pieces = [line[start : start + _LINE_LIMIT] for start in range(0, len(line), _LINE_LIMIT)] or [b""]
    return [(b"P", piece) for piece in pieces[:-1]] + [(b"F" if whole else b"P", pieces[-1])]


def _stamp() -> bytes:
    now = time.time_ns()
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1_000_000_000))
    return f"{text}.{now % 1_000_000_000:09d}Z".encode()


class Shim:
    """One container's keeper. `run` returns when the container has ended and everything is written."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        with open(directory + "/spec.json", "rb") as file:
            self.spec: dict[str, Any] = json.load(file)
        self.log = Log(self.spec["log"], max_bytes=self.spec["log_max_bytes"], files=self.spec["log_files"])
        self.poll = select.poll()
        self.outputs: dict[int, str] = {}
        self.clients: dict[int, socket.socket] = {}
        self.frames: dict[int, bytes] = {}
        self.listener: socket.socket | None = None
        self.stdin = -1
        self.terminal = -1

    def start(self) -> "tuple[int, str]":
        """Fork the container; returns its pid and "" or what went wrong."""
        ours, theirs = self._stdio()
        errors, errors_in = os.pipe()
        here, there = socket.socketpair()
        if self.spec["pidns"]:
            kernel.enter(self.spec["pidns"], kernel.NEWPID)
        else:
            kernel.unshare(kernel.NEWPID)
        pid = os.fork()
        if pid == 0:
            for number, fd in enumerate(theirs):
                os.dup2(fd, number)
            there.set_inheritable(False)
            inside.become(self.spec, errors_in, lambda master: kernel.send_fds(there, b"t", [master]))
        for fd in {*theirs, errors_in}:
            os.close(fd)
        there.close()
        if self.spec["tty"]:
            _, fds, _, _ = socket.recv_fds(here, 1, 1)
            if fds:
                self.terminal = self.stdin = fds[0]
                ours = {fds[0]: "stdout"}
        here.close()
        error = read_all(errors).decode("utf-8", "replace")
        os.close(errors)
        if error:
            os.waitpid(pid, 0)
            return 0, error
        for fd in ours:
            os.set_blocking(fd, False)
            self.poll.register(fd, select.POLLIN)
        self.outputs = ours
        return pid, ""

    def _stdio(self) -> "tuple[dict[int, str], list[int]]":
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        if self.spec["tty"]:
            return {}, [null, null, null]
        source = null
        if self.spec["stdin"]:
            source, self.stdin = os.pipe()
        out, out_in = os.pipe()
        err, err_in = os.pipe()
        for fd in (out, err):
            with contextlib.suppress(OSError):  # bounded for those who are not privileged
                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        return {out: "stdout", err: "stderr"}, [source, out_in, err_in]

    def listen(self) -> None:
        os.chdir(self.directory)  # a socket's path may have 107 bytes, a directory's more
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind("attach")
        os.chmod("attach", 0o600)
        self.listener.listen(8)
        self.poll.register(self.listener, select.POLLIN)
        os.chdir("/")

    def run(self, pid: int) -> int:
        """Keep the container until it ends; returns its wait status."""
        process = os.pidfd_open(pid)
        self.poll.register(process, select.POLLIN)
        assert self.listener is not None
        while True:
            for fd, _ in self.poll.poll():
                if fd == process:
                    _, status = os.waitpid(pid, 0)
                    self._drain()
                    return status
                if fd in self.outputs:
                    self._output(fd)
                elif fd == self.listener.fileno():
                    self._accept()
                elif fd in self.clients:
                    self._input(fd)

    def finish(self, status: int, pid: int) -> None:
        self.log.close()
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        code = 128 + number if number else os.WEXITSTATUS(status)
        oom = _oom_kills(self.spec["oom"]) > 0 and number == signal.SIGKILL
        reason = "OOMKilled" if oom else "Completed" if code == 0 else "Error"
        record = {"exit_code": code, "signal": number, "reason": reason, "message": "", "pid": pid}
        save(self.directory, "exit.json", record | {"finished_at": time.time()})
        for client in self.clients.values():
            client.close()

    def _drain(self) -> None:
        for fd in list(self.outputs):
            while fd in self.outputs and self._output(fd):
                pass

    def _output(self, fd: int) -> bool:
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # EIO: the last end of the terminal is closed
            data = b""
        if not data:
            self.poll.unregister(fd)
            del self.outputs[fd]
            return False
        stream = self.outputs[fd]
        self.log.write(stream, data)
        frame = struct.pack("!BI", 1 if stream == "stdout" else 2, len(data)) + data
        for client in list(self.clients.values()):
            try:
                if client.send(frame) != len(frame):
                    self._drop(client)
            except OSError:
                self._drop(client)
        return True

    def _accept(self) -> None:
        assert self.listener is not None
        client, _ = self.listener.accept()
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _CLIENT_BUFFER)
        self.clients[client.fileno()] = client
        self.frames[client.fileno()] = b""
        self.poll.register(client, select.POLLIN)

    def _drop(self, client: socket.socket) -> None:
        """One that has gone, or that does not keep up (its buffer is full)."""
        self.poll.unregister(client)
        self.frames.pop(client.fileno(), None)
        self.clients.pop(client.fileno(), None)
        client.close()

    def _input(self, fd: int) -> None:
        client = self.clients[fd]
        try:
            data = client.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(client)
            return
        buffer = self.frames[fd] + data
        while len(buffer) >= 5:
            channel, length = struct.unpack_from("!BI", buffer)
            if len(buffer) < 5 + length:
                break
            self._frame(channel, buffer[5 : 5 + length])
            buffer = buffer[5 + length :]
        self.frames[fd] = buffer

    def _frame(self, channel: int, data: bytes) -> None:
        if channel == 4 and self.terminal >= 0 and len(data) == 4:
            kernel.resize_tty(self.terminal, *struct.unpack("!HH", data))
        elif channel == 0 and self.stdin >= 0:
            with contextlib.suppress(OSError):  # the container closed it
                if data:
                    os.write(self.stdin, data)
                elif self.terminal >= 0:
                    os.write(self.stdin, b"\x04")
                elif self.spec["stdin_once"]:
                    os.close(self.stdin)
                    self.stdin = -1


def save(directory: str, name: str, record: "dict[str, Any]") -> None:
    """A record that readers see whole or not at all."""
    temporary = f"{directory}/.{name}"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(record, file)
    os.replace(temporary, f"{directory}/{name}")


def read_all(fd: int) -> bytes:
    data = b""
    while piece := os.read(fd, 4096):
        data += piece
    return data


def _oom_kills(path: str) -> int:
    if not path:
        return 0
    try:
        with open(path, encoding="ascii") as file:
            for line in file:
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
    except (OSError, ValueError):
        return 0
    return 0


def keep(directory: str, reply: socket.socket) -> "NoReturn":
    """The whole life of a shim, in the zygote's child."""
    os.setsid()
    kernel.set_name("pyb-shim")
    shim = Shim(directory)
    pid, error = shim.start()
    if error:
        shim.log.close()
        record = {"exit_code": 128, "signal": 0, "reason": "StartError", "message": error, "pid": 0}
        save(directory, "exit.json", record | {"finished_at": time.time()})
        reply.send(json.dumps({"error": error}).encode())
        os._exit(0)
    me = os.getpid()
    running: dict[str, Any] = {
        "pid": pid,
        "start_time": kernel.start_time(pid),
        "shim": me,
        "shim_start_time": kernel.start_time(me),
    }
    running |= {"started_at": time.time()}
    save(directory, "running.json", running)
    shim.listen()
    with contextlib.suppress(OSError):
        reply.send(json.dumps(running).encode())
    reply.close()
    shim.finish(shim.run(pid), pid)
    os._exit(0)
