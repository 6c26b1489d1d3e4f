"""The system calls a container is made of, by ctypes: Python 3.11 has no setns, unshare, mount or capset.

Imported by the zygote, which runs as `python -I -S`: standard library only, and little of it. Errors are OSError with
what was attempted.
"""

import array
import ctypes
import fcntl
import os
import socket
import struct

NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWPID, NEWNET = 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x20000000, 0x40000000
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE, SLAVE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18, 1 << 19
DETACH = 2

_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41}
_PDEATHSIG, _SET_NAME, _CAPBSET_DROP, _NO_NEW_PRIVS = 1, 15, 24, 38
_CAPABILITY_VERSION_3 = 0x20080522
_TIOCGPTN, _TIOCSPTLCK, _TIOCSWINSZ, _TIOCSCTTY = 0x80045430, 0x40045431, 0x5414, 0x540E

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, attempt: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{attempt}: {os.strerror(code)}")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    result = _libc.mount(
        source.encode() or None, target.encode(), kind.encode() or None, ctypes.c_ulong(flags), data.encode() or None
    )
    _check(result, f"mount {kind or source} on {target}")


def umount(target: str, flags: int = DETACH) -> None:
    _check(_libc.umount2(target.encode(), flags), f"unmount {target}")


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int, what: str) -> None:
    _check(_libc.setns(fd, kind), f"enter {what}")


def enter(path: str, kind: int) -> None:
    """Join the namespace that a file stands for."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(fd, kind, path)
    finally:
        os.close(fd)


def pivot(root: str) -> None:
    """Make `root`, a mount point, the root of this mount namespace and let go of the old one."""
    os.chdir(root)
    number = _PIVOT_ROOT.get(os.uname().machine)
    if number is None:
        raise OSError(38, f"pivot_root: its number on {os.uname().machine} is not known")
    _check(_libc.syscall(number, b".", b"."), "pivot_root")
    umount(".")
    os.chdir("/")


def sethostname(name: str) -> None:
    data = name.encode()[:64]
    _check(_libc.sethostname(data, len(data)), "sethostname")


def _prctl(option: int, value: int, attempt: str) -> None:
    _check(_libc.prctl(option, *(ctypes.c_ulong(n) for n in (value, 0, 0, 0))), attempt)


def die_with_parent(signal: int) -> None:
    _prctl(_PDEATHSIG, signal, "set the parent death signal")


def no_new_privileges() -> None:
    _prctl(_NO_NEW_PRIVS, 1, "set no_new_privs")


def set_name(name: str) -> None:
    """As `ps -o comm` shows it; 15 bytes."""
    _libc.prctl(_SET_NAME, ctypes.c_char_p(name.encode()[:15]), 0, 0, 0)


def bound_capabilities(mask: int, last: int) -> None:
    """Drop all capabilities outside `mask` from the bounding set."""
    for number in range(last + 1):
        if not mask >> number & 1:
            _prctl(_CAPBSET_DROP, number, f"drop capability {number}")


def set_capabilities(mask: int) -> None:
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    _check(_libc.capset(header, struct.pack("IIIIII", low, low, 0, high, high, 0)), "capset")


def open_tty() -> tuple[int, int]:
    """A pair (master, slave) of the /dev/pts that this process sees."""
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    (number,) = struct.unpack("I", fcntl.ioctl(master, _TIOCGPTN, b"\0" * 4))
    return master, os.open(f"/dev/pts/{number}", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


def take_tty(slave: int) -> None:
    """Make it the controlling terminal of this session."""
    fcntl.ioctl(slave, _TIOCSCTTY, 0)


def resize_tty(master: int, width: int, height: int) -> None:
    fcntl.ioctl(master, _TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))


def send_fds(connection: socket.socket, data: bytes, fds: list[int]) -> None:
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    connection.sendmsg([data], ancillary)


def start_time(pid: int) -> int:
    """Clock ticks after boot at which a process started (field 22 of /proc/PID/stat); 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])
