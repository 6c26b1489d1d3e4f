"""Files of one volume that are in each other's place: the last one stays, or the pod never starts."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..errors import quoted
from ..objects import Obj


class _Path(NamedTuple):
    path: str
    source: str = ""

    def __str__(self) -> str:
        return f"{quoted(self.path)} ({self.source})" if self.source else quoted(self.path)


def overlap_warnings(volumes: Iterable[Obj]) -> Iterator[str]:
    for volume in volumes:
        name = quoted(volume.get("name") or "")
        for field, shown in (("configMap", "ConfigMap"), ("secret", "Secret"), ("downwardAPI", "DownwardAPI")):
            source = volume.get(field)
            if source is not None:
                of = source.get("secretName" if field == "secret" else "name") or ""
                kind = shown if field == "downwardAPI" else f"{shown} {quoted(of)}"
                yield from _overlaps([_Path(path) for path in _items(source)], f"volume {name} ({kind})")
        if (projected := volume.get("projected")) is not None:
            sources = projected.get("sources") or ()
            yield from (
                f"volume {name} (Projected) has no sources provided" for source in sources if not any(source.values())
            )
            yield from _overlaps(
                [path for source in sources for path in _projected(source)], f"volume {name} (Projected)"
            )


def _items(source: Obj) -> list[str]:
    return [item.get("path") or "" for item in source.get("items") or ()]


def _projected(source: Obj) -> list[_Path]:
    for field, shown in (("configMap", "ConfigMap"), ("secret", "Secret")):
        if (found := source.get(field)) is not None and found.get("items") is not None:
            return [_Path(path, f"{shown} {quoted(found.get('name') or '')}") for path in _items(found)]
    if (found := source.get("downwardAPI")) is not None and found.get("items") is not None:
        return [_Path(path, "DownwardAPI") for path in _items(found)]
    if (found := source.get("serviceAccountToken")) is not None:
        return [_Path(found.get("path") or "", "ServiceAccountToken")]
    if (found := source.get("clusterTrustBundle")) is not None:
        of = found.get("name") if found.get("name") is not None else found.get("signerName")
        return [_Path(found.get("path") or "", f"ClusterTrustBundle {quoted(of or '')}")]
    if (found := source.get("podCertificate")) is not None:
        fields = {"certificateChainPath": "chain", "keyPath": "key", "credentialBundlePath": "credential bundle"}
        return [_Path(found[field], f"PodCertificate {what}") for field, what in fields.items() if found.get(field)]
    return []


def _overlaps(paths: Iterable[_Path], volume: str) -> Iterator[str]:
    before: list[_Path] = []
    for one in paths:
        path = one._replace(path=one.path.rstrip("/"))
        for other in before:
            inside = f"{path.path}/".startswith(f"{other.path}/") or f"{other.path}/".startswith(f"{path.path}/")
            if path.path and other.path and inside:
                yield f"{volume}: overlapping paths: {path} with {other}"
        before.append(path)
