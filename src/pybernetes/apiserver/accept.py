"""Content negotiation: which representation an Accept header asks for (API concepts, "Alternate representations").

As Kubernetes, the first of the best that can be written is taken; but where a client takes the same thing in protobuf
and in JSON, and likes both as well, it gets JSON (docs/decisions/0010-json-where-both-are-taken.md).
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from pybernetes.api.errors import NotAcceptable
from pybernetes.wire import Request

JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
_TYPES = {
    "application/json": JSON,
    "application/*": JSON,
    "*/*": JSON,
    "application/yaml": YAML,
    PROTOBUF: PROTOBUF,
}
META = "meta.k8s.io"


class Media(NamedTuple):
    """`kind` is Table, PartialObjectMetadata, PartialObjectMetadataList, APIGroupDiscoveryList or "" (as it is)."""

    type: str = JSON
    kind: str = ""
    group: str = ""
    version: str = ""
    pretty: bool = False
    """Indented, for people (JSON only)."""


class Clause(NamedTuple):
    """One of an Accept header, its type in small letters."""

    quality: float
    type: str
    parameters: Mapping[str, str]


def clauses(accept: str) -> list[Clause]:
    """What the header lists, whether it can be written here or not, in the order of preference."""
    found = []
    for text in (accept or "*/*").split(","):
        kind, *parameters = (part.strip() for part in text.split(";"))
        values = dict(part.split("=", 1) for part in parameters if "=" in part)
        try:
            quality = float(values.get("q", "1"))
        except ValueError:
            quality = 1.0
        if quality > 0:
            found.append(Clause(quality, kind.lower(), values))
    found.sort(key=lambda clause: -clause.quality)
    return found


@lru_cache(maxsize=512)
def offers(accept: str) -> tuple[Media, ...]:
    """What the header lists that can be written here, in the order of preference."""
    found = [
        (quality, Media(_TYPES[kind], values.get("as", ""), values.get("g", ""), values.get("v", "")))
        for quality, kind, values in clauses(accept)
        if kind in _TYPES and values.get("stream", "watch") == "watch"
    ]
    liked = set(found)
    return tuple(
        json if media.type == PROTOBUF and (quality, json := media._replace(type=JSON)) in liked else media
        for quality, media in found
    )


@lru_cache(maxsize=512)
def object_media(accept: str) -> Media:
    """For API objects: the first offer that is as-is, a v1 Table or v1 partial metadata. Raises NotAcceptable."""
    return _first(accept, custom=False)


@lru_cache(maxsize=512)
def custom_media(accept: str) -> Media:
    """The same for custom resources, which have no protobuf form but that of their metadata. Raises NotAcceptable."""
    return _first(accept, custom=True)


def _first(accept: str, *, custom: bool) -> Media:
    found = next((media for media in offers(accept) if _writable(media, custom=custom)), None)
    if found is None:
        raise not_acceptable()
    return found


def _writable(media: Media, *, custom: bool) -> bool:
    """Neither a Table nor a custom resource has a protobuf form."""
    if not media.kind:
        return media.type != PROTOBUF or not custom
    if media.group != META or media.version != "v1" or media.kind not in _TRANSFORMS:
        return False
    return media.type != PROTOBUF or media.kind != "Table"


@lru_cache(maxsize=512)
def plain_media(accept: str, *, custom: bool = False) -> Media:
    """For what has no other form than its own. `custom` is of a custom resource. Raises NotAcceptable."""
    for media in offers(accept):
        if not media.kind and (media.type != PROTOBUF or not custom):
            return media
    raise not_acceptable()


def media_of(request: Request, *, custom: bool = False) -> str:
    """The type in which an object that has no other form is answered. Raises NotAcceptable."""
    return plain_media(request.headers.get("accept", ""), custom=custom).type


@lru_cache(maxsize=512)
def status_media(accept: str) -> str:
    """The type in which an error is told: what was wrong is never hidden behind what cannot be accepted."""
    return next((media.type for media in offers(accept) if not media.kind), JSON)


def unchanged(request: Request, tag: str) -> bool:
    """Whether the client has what this entity tag (in its quotes) is of (RFC 9110 section 13.1.2)."""
    known = request.headers.get("if-none-match", "")
    return known == tag or any(one.strip().removeprefix("W/") in (tag, "*") for one in known.split(","))


_READERS = ("curl", "Wget", "Mozilla/5.0")


def wants_pretty(pretty: str, agent: str) -> bool:
    """Whether an answer is indented: as the query says, else for the programs with which people read by hand."""
    if pretty:
        return pretty not in ("0", "f", "F", "FALSE", "false", "False")
    return agent.startswith(_READERS)


_TRANSFORMS = frozenset({"Table", "PartialObjectMetadata", "PartialObjectMetadataList"})


def not_acceptable(*, watch: bool = False) -> NotAcceptable:
    types = (f"{JSON};stream=watch", f"{PROTOBUF};stream=watch") if watch else (JSON, YAML, PROTOBUF)
    return NotAcceptable(f"only the following media types are accepted: {', '.join(types)}")
