"""Network namespaces, each kept alive by a file it is bind-mounted on (as `ip netns` does): no process is needed.

A namespace is named by the path of that file; None is the caller's own. Entering one is per thread (setns), so whatever
must happen inside runs in a thread of its own that ends afterwards: no thread ever has to find its way back.
"""

import ctypes
import errno
import os
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_MS_BIND = 4096
_MNT_DETACH = 2
_NSFS_MAGIC = 0x6E736673

_libc = ctypes.CDLL(None, use_errno=True)


def create(path: str) -> None:
    """Make a namespace and keep it at `path` (parent directories are made). Its loopback link is down.

    Raises FileExistsError when the path is taken, PermissionError without CAP_SYS_ADMIN.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))

    def make() -> None:
        _check(_libc.unshare(_CLONE_NEWNET), "unshare the network")
        _check(_libc.mount(b"/proc/thread-self/ns/net", os.fsencode(path), b"none", _MS_BIND, None), f"mount {path}")

    try:
        _in_thread(make)
    except BaseException:
        os.unlink(path)
        raise


def delete(path: str) -> None:
    """Let go of the namespace at `path`; what is not there is no error.

    The kernel destroys it, and its links, when the last process, socket and mount is gone, a little later.
    """
    while _libc.umount2(os.fsencode(path), _MNT_DETACH) == 0:
        pass  # mounted more than once
    if (code := ctypes.get_errno()) not in (errno.EINVAL, errno.ENOENT):
        raise OSError(code, f"unmount {path}: {os.strerror(code)}")
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def exists(path: str) -> bool:
    """Whether a namespace is mounted at `path` (a plain file left by a reboot is none)."""
    buffer = ctypes.create_string_buffer(256)
    if _libc.statfs(os.fsencode(path), buffer) != 0:
        return False
    return ctypes.c_long.from_buffer(buffer).value == _NSFS_MAGIC


def identity(path: str | None = None) -> int:
    """The inode number that tells namespaces apart; None is the calling thread's."""
    return os.stat(path or "/proc/thread-self/ns/net").st_ino


def run_in(path: str | None, fn: Callable[[], T]) -> T:
    """Call `fn` in a thread of its own inside the namespace; returns what it returns, raises what it raises.

    Sockets that `fn` opens stay in that namespace wherever they are used later. None calls it right here.
    """
    if path is None:
        return fn()
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def entered() -> T:
        _check(_libc.setns(fd, _CLONE_NEWNET), f"enter {path}")
        return fn()

    try:
        return _in_thread(entered)
    finally:
        os.close(fd)


def _in_thread(fn: Callable[[], T]) -> T:
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(fn())
        except BaseException as error:  # noqa: BLE001 - carried over to the caller's thread, whatever it is
            errors.append(error)

    thread = threading.Thread(target=body, name="namespace", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _check(result: int, attempt: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{attempt}: {os.strerror(code)}")
