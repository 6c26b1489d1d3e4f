"""Content negotiation: which representation an Accept header asks for (API concepts, "Alternate representations")."""

from functools import lru_cache
from typing import NamedTuple

from pybernetes.api.errors import NotAcceptable
from pybernetes.wire import Request

JSON, YAML = "application/json", "application/yaml"
_TYPES = {
    "application/json": JSON,
    "application/*": JSON,
    "*/*": JSON,
    "application/yaml": YAML,
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


@lru_cache(maxsize=512)
def offers(accept: str) -> tuple[Media, ...]:
    """What the header lists that can be written here, in the order of preference."""
    found: list[tuple[float, Media]] = []
    for clause in (accept or "*/*").split(","):
        kind, *parameters = (part.strip() for part in clause.split(";"))
        known = _TYPES.get(kind.lower())
        if known is None:
            continue
        values = dict(part.split("=", 1) for part in parameters if "=" in part)
        try:
            quality = float(values.get("q", "1"))
        except ValueError:
            quality = 1.0
        if quality > 0:
            found.append((-quality, Media(known, values.get("as", ""), values.get("g", ""), values.get("v", ""))))
    found.sort(key=lambda pair: pair[0])
    return tuple(media for _, media in found)


@lru_cache(maxsize=512)
def object_media(accept: str) -> Media:
    """For API objects: the first offer that is as-is, a v1 Table or v1 partial metadata. Raises NotAcceptable."""
    for media in offers(accept):
        if not media.kind:
            return media
        if media.group == META and media.version == "v1" and media.kind in _TRANSFORMS:
            return media
    raise not_acceptable()


def plain_media(accept: str) -> Media:
    """For what has no other form than its own. Raises NotAcceptable."""
    found = next((media for media in offers(accept) if not media.kind), None)
    if found is None:
        raise not_acceptable()
    return found


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


def not_acceptable() -> NotAcceptable:
    return NotAcceptable(f"only the following media types are accepted: {JSON}, {YAML}")
