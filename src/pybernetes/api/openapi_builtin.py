"""The OpenAPI documents of Kubernetes' own kinds as they lie on disk, distilled at build time."""

from collections.abc import Mapping
from functools import cache

from .objects import Obj, decode
from .schema import DEFINITIONS


@cache
def documents() -> Mapping[str, Mapping[str, str]]:
    """By place in the index ("apis/apps/v1"): the `file` of the schemas and their `hash`."""
    found: Mapping[str, Mapping[str, str]] = decode((DEFINITIONS / "index.json").read_bytes())["documents"]
    return found


@cache
def release() -> str:
    """The Kubernetes release the definitions are of: "1.37.0"."""
    return str(decode((DEFINITIONS / "index.json").read_bytes())["release"])


def schemas(path: str) -> bytes:
    """The schemas of one document as JSON; "{}" when there is none of that place."""
    found = documents().get(path)
    return (DEFINITIONS / found["file"]).read_bytes() if found else b"{}"


@cache
def shared() -> Obj:
    """The definitions that documents of custom kinds lean on: meta/v1 and Scale. Not to be edited."""
    found: Obj = decode(schemas("apis/apiregistration.k8s.io/v1")) | decode(schemas("apis/autoscaling/v1"))
    wanted = ("io.k8s.apimachinery.", "io.k8s.api.autoscaling.v1.Scale")
    return {name: value for name, value in found.items() if name.startswith(wanted)}


@cache
def own_fields() -> Obj:
    """apiVersion, kind and metadata of any object, described."""
    service: Obj = decode(schemas("apis/apiregistration.k8s.io/v1"))[
        "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService"
    ]
    return {name: service["properties"][name] for name in ("apiVersion", "kind", "metadata")}
