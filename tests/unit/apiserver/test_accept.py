"""What an Accept header asks for, as Kubernetes reads it, and where protobuf gives way to JSON."""

from collections.abc import Callable

import pytest

from pybernetes.api.errors import NotAcceptable
from pybernetes.apiserver.accept import (
    JSON,
    PROTOBUF,
    YAML,
    Media,
    custom_media,
    object_media,
    offers,
    plain_media,
    status_media,
)

META = "g=meta.k8s.io;v=v1"


def test_the_first_that_can_be_written() -> None:
    table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,*/*"
    assert object_media(table) == Media(JSON, "Table", "meta.k8s.io", "v1")
    assert object_media("") == Media(JSON)
    assert object_media("application/json;as=Other;v=v1;g=x,application/yaml") == Media(YAML)
    assert object_media("application/yaml;stream=spam,application/json") == Media(JSON)
    assert [media.type for media in offers("application/yaml;q=0.5, application/json")] == [JSON, YAML]


@pytest.mark.parametrize("ask", [object_media, custom_media, plain_media])
@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "application/cbor", "application/json;as=x"])
def test_nothing_that_can_be_written(accept: str, ask: Callable[[str], Media]) -> None:
    with pytest.raises(NotAcceptable):
        ask(accept)
    assert status_media(accept) == JSON


@pytest.mark.parametrize(
    ("accept", "type_"),
    [
        (PROTOBUF, PROTOBUF),
        (f"{PROTOBUF};stream=watch", PROTOBUF),
        (f"{PROTOBUF},{JSON}", JSON),  # client-go and controller-runtime
        (f"{PROTOBUF}, */*", JSON),  # kubectl top
        (f"{JSON},{PROTOBUF}", JSON),
        (f"{PROTOBUF},{YAML}", PROTOBUF),
        (f"{PROTOBUF};q=0.9,{JSON};q=0.8", PROTOBUF),  # who says that protobuf is better gets it
        (f"{PROTOBUF};q=0.8,{JSON};q=0.8", JSON),
        (f"{PROTOBUF};q=0.8,{JSON};q=0.9", JSON),
        (f"{PROTOBUF},{YAML},{JSON}", JSON),
    ],
)
def test_protobuf_is_for_those_who_take_no_json_as_well(accept: str, type_: str) -> None:
    assert object_media(accept) == plain_media(accept) == Media(type_)
    assert status_media(accept) == type_


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (f"{PROTOBUF};as=PartialObjectMetadata;{META}", Media(PROTOBUF, "PartialObjectMetadata", "meta.k8s.io", "v1")),
        (  # the metadata client of client-go: the same thing in JSON
            f"{PROTOBUF};as=PartialObjectMetadata;{META},{JSON};as=PartialObjectMetadata;{META},{JSON}",
            Media(JSON, "PartialObjectMetadata", "meta.k8s.io", "v1"),
        ),
        (  # JSON is taken for something else only: that is no reason to send it
            f"{PROTOBUF};as=PartialObjectMetadata;{META},{JSON}",
            Media(PROTOBUF, "PartialObjectMetadata", "meta.k8s.io", "v1"),
        ),
        (f"{PROTOBUF};as=Table;{META},{PROTOBUF}", Media(PROTOBUF)),
        (f"{PROTOBUF};as=Table;{META},{JSON};as=Table;{META}", Media(JSON, "Table", "meta.k8s.io", "v1")),
    ],
)
def test_other_forms(accept: str, media: Media) -> None:
    assert object_media(accept) == media


def test_a_table_has_no_protobuf_form() -> None:
    with pytest.raises(NotAcceptable):
        object_media(f"{PROTOBUF};as=Table;{META}")


def test_custom_resources_have_no_protobuf_form_but_that_of_their_metadata() -> None:
    partial = f"{PROTOBUF};as=PartialObjectMetadataList;{META}"
    assert custom_media(partial).type == PROTOBUF
    assert custom_media(f"{PROTOBUF},{YAML}").type == YAML
    assert plain_media(f"{PROTOBUF},{YAML}", custom=True).type == YAML
    for ask in (custom_media, lambda accept: plain_media(accept, custom=True)):
        with pytest.raises(NotAcceptable):
            ask(PROTOBUF)
