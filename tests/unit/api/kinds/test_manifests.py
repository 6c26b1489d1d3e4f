"""Manifests in the form of what people install are taken, and what they say stands."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from support.admitted import accepted

MANIFESTS = [
    pytest.param(document, id=f"{path.stem}-{document['kind']}-{document['metadata']['name']}")
    for path in sorted((Path(__file__).parent / "manifests").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
]


def missing(given: Any, found: Any, path: str = "") -> list[str]:
    """Where what was given is not what is there; what is there besides does not matter."""
    if isinstance(given, dict) and isinstance(found, dict):
        return [line for key, value in given.items() for line in missing(value, found.get(key), f"{path}.{key}")]
    if isinstance(given, list) and isinstance(found, list) and len(given) == len(found):
        pairs = enumerate(zip(given, found, strict=True))
        return [line for index, pair in pairs for line in missing(*pair, f"{path}[{index}]")]
    empty = not given and found in (None, [], {}, "")
    return [] if given == found or str(given) == found or empty else [f"{path}: {given} -> {found}"]


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_manifests_are_taken_as_they_are(manifest):
    found = accepted(manifest)
    assert missing(manifest, found) == []
    again = accepted(found, found)
    assert again["metadata"].get("generation") == found["metadata"].get("generation")
