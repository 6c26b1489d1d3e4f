"""Walks over the containers of a pod spec."""

from collections.abc import Iterator

from ..objects import Obj

CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")


def containers_of(spec: Obj) -> Iterator[Obj]:
    """Init, main and ephemeral containers, in this order."""
    for field in CONTAINER_LISTS:
        yield from spec.get(field) or ()


def every_container(spec: Obj, path: str) -> Iterator[tuple[Obj, str]]:
    """Each container with its field path."""
    for field in CONTAINER_LISTS:
        for index, container in enumerate(spec.get(field) or ()):
            yield container, f"{path}.{field}[{index}]"
