"""What a container's process does between fork and exec: its namespaces, its view of the files, its privileges.

The root is an overlay over the node's own root whose writable layer is a tmpfs that only this mount namespace has:
mount points can be made without touching the node, and all that the container writes vanishes with it. Targets are
resolved inside a chroot, so that a symbolic link in them can never lead out to the node's own files.
Runs in the zygote's child: standard library only.
"""

import contextlib
import os
import resource
import signal
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from . import kernel
else:
    import kernel

_PSEUDO = frozenset(
    (
        *("proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "mqueue", "debugfs", "tracefs", "securityfs"),
        *("bpf", "nsfs", "pstore", "configfs", "fusectl", "hugetlbfs", "binfmt_misc", "efivarfs", "rpc_pipefs"),
        "autofs",
    )
)
_OWN = ("/proc", "/sys", "/dev", "/run")
_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
_DEVICE_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1"} | {
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
_MASKED = ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug")
_READ_ONLY = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs")


def become(spec: "dict[str, Any]", errors: int, hand_over: "Any") -> "NoReturn":
    """Turn this freshly forked process (pid 1 of its pid namespace, unless it joined another's) into the container.

    `hand_over(fd)` gives a terminal's master to the shim. What fails is written to the fd `errors`, which exec closes.
    """
    try:
        join_cgroups(spec)
        for path, kind in ((spec["netns"], kernel.NEWNET), (spec["ipcns"], kernel.NEWIPC)):
            if path:
                kernel.enter(path, kind)
        kernel.unshare(kernel.NEWNS | kernel.NEWUTS | (0 if spec["ipcns"] else kernel.NEWIPC))
        os.setsid()
        kernel.mount("", "/", flags=kernel.REC | kernel.SLAVE)
        build_root(spec)
        if spec["hostname"]:
            kernel.sethostname(spec["hostname"])
        if spec["tty"]:
            attach_tty(hand_over)
        limit_and_execute(spec, spec["argv"], spec["environment"])
    except BaseException as error:  # noqa: BLE001 - whatever it is, the agent must read it
        fail(errors, error)


def fail(errors: int, error: BaseException) -> "NoReturn":
    """Report through the error pipe and end; never returns into the zygote's code."""
    with contextlib.suppress(OSError):
        text = str(error.args[1]) if isinstance(error, OSError) and len(error.args) > 1 else str(error)
        if isinstance(error, OSError) and error.filename:
            text = f"{error.filename}: {text}"
        os.write(errors, (text or repr(error)).encode()[:4000])
    os._exit(127)


def join_cgroups(spec: "dict[str, Any]") -> None:
    for path in spec["cgroups"]:
        with open(path + "/cgroup.procs", "w", encoding="ascii") as file:
            file.write("0")


def attach_tty(hand_over: "Any") -> None:
    master, slave = kernel.open_tty()
    kernel.take_tty(slave)
    for number in (0, 1, 2):
        os.dup2(slave, number)
    hand_over(master)
    os.close(master)
    os.close(slave)


# The root


def build_root(spec: "dict[str, Any]") -> None:
    base = spec["base"]
    binds = [(bind, _open_source(bind["source"])) for bind in sorted(spec["mounts"], key=lambda b: b["target"])]
    kernel.mount("tmpfs", base, "tmpfs", kernel.NOSUID if not spec["privileged"] else 0, "mode=0755")
    root = base + "/root"
    os.mkdir(root)
    if spec["overlay"]:
        overlay(base, "0", "/", root)
        _further_file_systems(base, root, [*_OWN, *spec["hidden"]])
    else:
        _bound_root(root)
    _system_mounts(root, privileged=spec["privileged"])
    old = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    os.chroot(root)
    os.chdir("/")
    for path in spec["hidden"]:
        if os.path.isdir(path):
            kernel.mount("tmpfs", path, "tmpfs", kernel.NOSUID | kernel.NODEV | kernel.NOEXEC | kernel.RDONLY)
    for bind, source in binds:
        _bind(bind, source)
    if not spec["privileged"]:
        _mask()
    if spec["directory"] != "/":
        os.makedirs(spec["directory"], exist_ok=True)
    os.fchdir(old)
    os.chroot(".")
    os.close(old)
    kernel.pivot(root)
    if spec["read_only_root"]:
        kernel.mount("", "/", flags=kernel.BIND | kernel.REMOUNT | kernel.RDONLY)


def _open_source(path: str) -> int:
    return os.open(path, os.O_PATH | os.O_CLOEXEC)


def overlay(base: str, name: str, lower: str, target: str) -> None:
    upper, work = f"{base}/upper-{name}", f"{base}/work-{name}"
    os.mkdir(upper)
    os.mkdir(work)
    mode = os.stat(lower)
    os.chmod(upper, stat.S_IMODE(mode.st_mode))
    os.chown(upper, mode.st_uid, mode.st_gid)
    escaped = lower.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")
    kernel.mount("overlay", target, "overlay", 0, f"lowerdir={escaped},upperdir={upper},workdir={work}")


def _further_file_systems(base: str, root: str, without: "list[str]") -> None:
    """The node's other file systems (/home, /usr on a disk of its own): private too where possible, else read-only.

    Nothing below `without`: a volume of another pod that is held here would outlive that pod.
    """
    for number, (path, kind) in enumerate(_mounts(), 1):
        if kind in _PSEUDO or path in ("/", base) or any(path == own or path.startswith(own + "/") for own in without):
            continue
        target = root + path
        with contextlib.suppress(OSError):
            if os.path.isdir(path):
                try:
                    overlay(base, str(number), path, target)
                    continue
                except OSError:
                    pass
            kernel.mount(path, target, flags=kernel.BIND)
            kernel.mount("", target, flags=kernel.BIND | kernel.REMOUNT | kernel.RDONLY)


def _mounts() -> "list[tuple[str, str]]":
    """(path, file system type) of each mount, in order."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            path = left.split(" ")[4]
            for code, char in (("\\040", " "), ("\\011", "\t"), ("\\134", "\\")):
                path = path.replace(code, char)
            found.append((path, right.split(" ", 1)[0]))
    return found


def _bound_root(root: str) -> None:
    """Without overlayfs: each entry of / bound read-only, with /tmp and /var/tmp of its own."""
    kernel.mount(root, root, flags=kernel.BIND)
    for entry in os.scandir("/"):
        target = f"{root}/{entry.name}"
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), target)
        elif entry.path in (*_OWN, "/tmp"):
            os.mkdir(target)
        elif entry.is_dir():
            os.mkdir(target)
            kernel.mount(entry.path, target, flags=kernel.BIND | kernel.REC)
            kernel.mount("", target, flags=kernel.BIND | kernel.REMOUNT | kernel.RDONLY)
    for path in ("/tmp", "/var/tmp"):
        kernel.mount("tmpfs", root + path, "tmpfs", kernel.NOSUID | kernel.NODEV, "mode=1777")


def _system_mounts(root: str, *, privileged: bool) -> None:
    safe = kernel.NOSUID | kernel.NODEV | kernel.NOEXEC
    for name in ("proc", "sys", "dev", "run"):
        os.makedirs(f"{root}/{name}", exist_ok=True)
    kernel.mount("proc", root + "/proc", "proc", safe)
    kernel.mount("sysfs", root + "/sys", "sysfs", safe | (0 if privileged else kernel.RDONLY))
    kernel.mount("tmpfs", root + "/run", "tmpfs", kernel.NOSUID | kernel.NODEV, "mode=755")
    if privileged:
        kernel.mount("/dev", root + "/dev", flags=kernel.BIND | kernel.REC)
        return
    kernel.mount("tmpfs", root + "/dev", "tmpfs", kernel.NOSUID | kernel.NOEXEC, "mode=755,size=65536k")
    mask = os.umask(0)
    for name, (major, minor) in _DEVICES.items():
        os.mknod(f"{root}/dev/{name}", stat.S_IFCHR | 0o666, os.makedev(major, minor))
    os.umask(mask)
    for name, target in _DEVICE_LINKS.items():
        os.symlink(target, f"{root}/dev/{name}")
    for name in ("pts", "shm", "mqueue"):
        os.mkdir(f"{root}/dev/{name}")
    options = "newinstance,ptmxmode=0666,mode=0620,gid=5"
    kernel.mount("devpts", root + "/dev/pts", "devpts", kernel.NOSUID | kernel.NOEXEC, options)
    kernel.mount("tmpfs", root + "/dev/shm", "tmpfs", safe, "mode=1777,size=65536k")
    with contextlib.suppress(OSError):  # a kernel without POSIX queues
        kernel.mount("mqueue", root + "/dev/mqueue", "mqueue", safe)


def _bind(bind: "dict[str, Any]", source: int) -> None:
    """Bind the file or directory behind the fd `source` at its target, made if it is not there."""
    target = bind["target"]
    directory = stat.S_ISDIR(os.fstat(source).st_mode)
    if os.path.islink(target) and not os.path.isdir(target):
        os.unlink(target)  # /etc/resolv.conf is often a link into /run; this one is the overlay's
    try:
        _make_mount_point(target, directory=directory)
    except OSError as error:
        raise OSError(error.errno, f"make the mount point {target}: {os.strerror(error.errno or 0)}") from error
    path = f"/proc/self/fd/{source}"
    kernel.mount(path, target, flags=kernel.BIND | kernel.REC)
    if not bind["propagate"]:
        kernel.mount("", target, flags=kernel.PRIVATE | kernel.REC)
    if bind["read_only"]:
        kernel.mount("", target, flags=kernel.BIND | kernel.REMOUNT | kernel.RDONLY)
    os.close(source)


def _make_mount_point(target: str, *, directory: bool) -> None:
    if directory:
        os.makedirs(target, exist_ok=True)
        return
    os.makedirs(os.path.dirname(target) or "/", exist_ok=True)
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))


def _mask() -> None:
    for path in _MASKED:
        if os.path.exists(path):
            kernel.mount("/dev/null", path, flags=kernel.BIND)
    for path in _READ_ONLY:
        if os.path.exists(path):
            kernel.mount(path, path, flags=kernel.BIND)
            kernel.mount("", path, flags=kernel.BIND | kernel.REMOUNT | kernel.RDONLY)


# Privileges and exec


def limit_and_execute(spec: "dict[str, Any]", argv: "list[str]", environment: "dict[str, str]") -> "NoReturn":
    """Drop what the container may not have, then exec; used by exec into a container too."""
    os.umask(0o022)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if not spec["privileged"]:
        kernel.bound_capabilities(spec["capabilities"], spec["last_capability"])
    os.setgroups(spec["groups"])
    os.setresgid(spec["gid"], spec["gid"], spec["gid"])
    os.setresuid(spec["uid"], spec["uid"], spec["uid"])
    if not spec["privileged"]:
        kernel.set_capabilities(spec["capabilities"] if spec["uid"] == 0 else 0)
    if spec["no_new_privileges"]:
        kernel.no_new_privileges()
    kernel.die_with_parent(signal.SIGKILL)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    try:
        os.chdir(spec["directory"])
    except OSError as error:
        raise OSError(error.errno, f"chdir to cwd {spec['directory']!r}: {os.strerror(error.errno or 0)}") from error
    program = find_program(argv[0], environment.get("PATH", ""))
    try:
        os.execve(program, argv, environment)
    except OSError as error:
        detail = os.strerror(error.errno or 0).lower()
        raise FileNotFoundError(error.errno, f'exec: "{argv[0]}": {detail}') from error


def find_program(name: str, path: str) -> str:
    """The file to execute, with the errors that container runtimes give."""
    if "/" in name:
        try:
            mode = os.stat(name).st_mode
        except OSError as error:
            detail = os.strerror(error.errno or 0).lower()
            raise FileNotFoundError(2, f'exec: "{name}": stat {name}: {detail}') from error
        if stat.S_ISDIR(mode) or not os.access(name, os.X_OK):
            raise PermissionError(13, f'exec: "{name}": permission denied')
        return name
    for directory in path.split(":"):
        candidate = os.path.join(directory or ".", name)
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    raise FileNotFoundError(2, f'exec: "{name}": executable file not found in $PATH')
