"""What the suite needs, made once and kept in .upstream/: its programs by Go, files of its images, packages of Debian.

The module that holds the suite wants Kubernetes' staging modules as v0.0.0, which only its own tree has; the published
modules of the same release stand in for them here.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from . import RELEASE
from .places import Places

SUITE = "k8s.io/kubernetes/test/e2e"
AGNHOST = "k8s.io/kubernetes/test/images/agnhost"
_VERSION = "k8s.io/component-base/version"
_STAGING = re.compile(r"^\s+(k8s\.io/\S+) v0\.0\.0$", re.MULTILINE)
_TOOLS = f'//go:build tools\n\npackage upstream\n\nimport (\n\t_ "{SUITE}"\n\t_ "{AGNHOST}"\n)\n'
_PACKAGES = {"nginx": ("nginx", "nginx-common"), "nc": ("netcat-openbsd",)}
"""Command -> the Debian packages that have it; unpacked beside the machine's own files, never installed."""
_NGINX = """daemon off;
user root;
error_log stderr;
pid /run/nginx.pid;
events {}
http {
    include mime.types;
    access_log /dev/stdout;
    server {
        listen 80;
        root /usr/share/nginx/html;
    }
}
"""
"""What the image's own configuration says, in short."""


class Missing(Exception):
    """Something that the machine lacks; the text says what to do."""


def build(places: Places) -> None:
    """Everything that is not there yet. Raises Missing, and CalledProcessError where a build fails."""
    if not (places.suite.exists() and places.agnhost.exists()):
        _programs(places)
    if not places.root.exists():
        partial = places.root.with_suffix(".part")
        shutil.rmtree(partial, ignore_errors=True)
        _files(places, partial)
        for command, packages in _PACKAGES.items():
            if shutil.which(command) is None:
                _unpack(partial, packages)
        partial.rename(places.root)


def module(kubernetes: str) -> str:
    """The text of go.mod, from that of k8s.io/kubernetes: each staging module is the one published with the release."""
    staging = sorted(set(_STAGING.findall(kubernetes)))
    replaced = [f"\t{name} => {name} v0.{RELEASE.removeprefix('1.')}" for name in staging]
    head = ["module upstream", "", go_line(kubernetes), "", f"require k8s.io/kubernetes v{RELEASE}"]
    return "\n".join([*head, "", "replace (", *replaced, ")", ""])


def go_line(text: str) -> str:
    """The line of a go.mod that says which Go it wants. Raises ValueError when there is none."""
    if found := re.search(r"^go \S+$", text, re.MULTILINE):
        return found[0]
    raise ValueError("a go.mod without a go line")


def _programs(places: Places) -> None:
    if shutil.which("go") is None:
        raise Missing("'go' is missing: Kubernetes' programs are built by Go 1.26 or newer (https://go.dev/dl)")
    places.module.mkdir(parents=True, exist_ok=True)
    told = json.loads(_go(places, "mod", "download", "-json", f"k8s.io/kubernetes@v{RELEASE}"))
    mine = places.module / "go.mod"
    if not mine.exists():
        mine.write_text(module(Path(told["GoMod"]).read_text()))
    (places.module / "tools.go").write_text(_TOOLS)
    major, minor, _ = RELEASE.split(".")
    stamp = {"gitVersion": f"v{RELEASE}", "gitMajor": major, "gitMinor": minor}
    flags = "-ldflags=-s -w " + " ".join(f"-X {_VERSION}.{name}={value}" for name, value in stamp.items())
    print("upstream: building the suite (some 12 minutes on two processors when it is the first time)", flush=True)
    _go(places, "build", "-mod=mod", flags, "-o", str(places.agnhost), AGNHOST)
    _go(places, "test", "-mod=mod", flags, "-c", "-o", str(places.suite), SUITE)
    shutil.copytree(Path(told["Dir"], "test", "images"), places.images, dirs_exist_ok=True, copy_function=_copy)
    _writable(places.images)


def _copy(source: str, target: str) -> None:
    shutil.copyfile(source, target)  # Go's cache is read-only, and its copies need not be


def _writable(tree: Path) -> None:
    for directory, _, _ in os.walk(tree):
        os.chmod(directory, 0o755)


def _go(places: Places, *arguments: str) -> str:
    done = subprocess.run(
        ["nice", "-n", "10", "go", *arguments], cwd=places.module, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def _files(places: Places, root: Path) -> None:
    """What the images hold at fixed places, and the tools of busybox that the machine has not."""
    shutil.copytree(places.images / "nautilus" / "html", root, copy_function=_copy)
    root.chmod(0o755)
    shutil.copy2(places.agnhost, root / "agnhost")
    for name in ("localhost.crt", "localhost.key"):
        shutil.copyfile(places.images / "agnhost" / "porter" / name, root / name)
    (root / "agnhost-2").symlink_to("agnhost")
    (root / "uploads").mkdir()
    nginx = root / "etc" / "nginx" / "upstream.conf"
    nginx.parent.mkdir(parents=True)
    nginx.write_text(_NGINX)
    local = root / "usr" / "local" / "bin"
    local.mkdir(parents=True)
    busybox = shutil.which("busybox")
    if busybox is None:
        raise Missing("'busybox' is missing; install the package 'busybox'")
    applets = subprocess.run([busybox, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    (root / "usr" / "bin").mkdir()
    (root / "usr" / "bin" / "sh").symlink_to("bash")  # as busybox' shell, and not as dash, it passes any variable on
    for name in lacking(applets):
        (local / name).symlink_to(busybox)
    if shutil.which("nc") is None:
        (local / "nc").symlink_to("/usr/bin/nc.openbsd")


def lacking(applets: Iterable[str]) -> list[str]:
    """Those commands that this machine has not by themselves."""
    return [name for name in applets if shutil.which(name) is None and name not in _PACKAGES]


def _unpack(root: Path, packages: Sequence[str]) -> None:
    """Put the trees of packages where pods see them, with /bin and its like in /usr, as Debian has it."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise Missing(f"{' and '.join(packages)}: not here, and there is no apt-get to fetch them; install them")
    with tempfile.TemporaryDirectory(prefix="upstream-") as work:
        fetch = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *packages]
        if subprocess.run(fetch, cwd=work, capture_output=True, check=False).returncode:
            subprocess.run(["apt-get", "-q", "update"], capture_output=True, check=True)
            subprocess.run(fetch, cwd=work, capture_output=True, check=True)
        tree = Path(work, "tree")
        for package in sorted(Path(work).glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", str(package), str(tree)], check=True)
        for name in ("bin", "sbin", "lib"):
            if (tree / name).is_dir():
                shutil.copytree(tree / name, tree / "usr" / name, symlinks=True, dirs_exist_ok=True)
                shutil.rmtree(tree / name)
        shutil.copytree(tree, root, symlinks=True, dirs_exist_ok=True)
