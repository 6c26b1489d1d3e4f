"""What the suite's images mean where pods are processes: a JSON patch of a pod as it is made.

An image that is known becomes `image: host`, and the command that its own ENTRYPOINT and CMD would make is written down
(Dockerfiles of test/images), for `host` has neither. The programs lie at the images' own places: see root.sh.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

HOST = "host"
_LISTS = ("initContainers", "containers", "ephemeralContainers")
_AGNHOST = ("/agnhost",)


class Image(NamedTuple):
    """What an image runs when a container says nothing. Both as in its Dockerfile, with this machine's programs."""

    entrypoint: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()


IMAGES: Mapping[str, Image] = {
    "registry.k8s.io/e2e-test-images/agnhost": Image(_AGNHOST, ("pause",)),
    "registry.k8s.io/e2e-test-images/busybox": Image(arguments=("sh",)),
    "registry.k8s.io/e2e-test-images/glibc-dns-testing": Image(arguments=("bash",)),
    "registry.k8s.io/e2e-test-images/nautilus": Image(_AGNHOST, ("test-webserver",)),
    "registry.k8s.io/e2e-test-images/nginx": Image(arguments=("nginx", "-c", "/etc/nginx/upstream.conf")),
    "registry.k8s.io/e2e-test-images/perl": Image(arguments=("perl", "-de0")),
    "registry.k8s.io/pause": Image((*_AGNHOST, "pause")),
}
"""By name without tag. An image that is not here stays as it is, and cannot be pulled - which some tests want."""


def patch(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The JSON patch (RFC 6902) for a pod; empty when it asks for none of the images."""
    spec: Mapping[str, Any] = pod.get("spec") or {}
    return [
        step
        for part in _LISTS
        for index, container in enumerate(spec.get(part) or ())
        for step in _steps(container, f"/spec/{part}/{index}")
    ]


def _steps(container: Mapping[str, Any], path: str) -> Iterator[dict[str, Any]]:
    image = IMAGES.get(bare(str(container.get("image") or "")))
    if image is None:
        return
    yield {"op": "replace", "path": f"{path}/image", "value": HOST}
    if container.get("command"):
        return
    command, arguments = _said(image, container.get("args") or ())
    yield {"op": "add", "path": f"{path}/command", "value": command}
    if arguments != list(container.get("args") or ()):
        yield {"op": "add", "path": f"{path}/args", "value": arguments}


def _said(image: Image, arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """(command, args) for a container without a command. `host` has no entrypoint, so there must be one."""
    told = list(arguments or image.arguments)
    return (list(image.entrypoint), told) if image.entrypoint else (told, [])


def bare(image: str) -> str:
    """An image's name without tag and digest: "r:5000/a/b:1@sha256:..." is "r:5000/a/b"."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]
