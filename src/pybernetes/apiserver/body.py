"""Request bodies: JSON, YAML or protobuf in, an object that fits its schema out.

fieldValidation says what becomes of unknown and doubled fields: Strict refuses, Warn (the default) warns, Ignore drops.
"""

import math
from collections.abc import Iterator
from typing import Any

import msgspec
import yaml

from pybernetes.api import decoding, schema
from pybernetes.api.errors import BadRequest, FieldError, Invalid, UnsupportedMediaType
from pybernetes.api.objects import Obj, decode
from pybernetes.api.resources import Resource
from pybernetes.api.scheme import Scheme
from pybernetes.wire import Request

from .users import warn

JSON = "application/json"
PROTOBUF = "application/vnd.kubernetes.protobuf"
_YAML = frozenset({"application/yaml", "application/x-yaml", "text/yaml"})
ACCEPTED = f"{JSON}, application/yaml, {PROTOBUF}"
APPLY_PATCH = "application/apply-patch+yaml"
_VALIDATION = ("Strict", "Warn", "Ignore")
_DELETE_OPTIONS = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
_LONGEST_MANAGER = 128
_MOST_NODES = 1_000_000
_DEEPEST = 200


def media_type(request: Request) -> str:
    """The content type without its parameters; JSON when there is none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() or JSON


def field_validation(request: Request) -> str:
    """Strict, Warn or Ignore. `check_options` has refused anything else."""
    return request.param("fieldValidation") or "Warn"


def check_options(request: Request) -> None:
    """The query of a write, as meta/v1 CreateOptions, UpdateOptions or PatchOptions are checked. Raises Invalid."""
    if request.query and (problems := list(_option_problems(request))):
        raise Invalid.of(_OPTIONS.get(request.method, "CreateOptions"), "", problems, group="meta.k8s.io")


_OPTIONS = {"POST": "CreateOptions", "PUT": "UpdateOptions", "PATCH": "PatchOptions", "DELETE": "DeleteOptions"}


def _option_problems(request: Request) -> Iterator[FieldError]:
    manager, apply = request.param("fieldManager"), media_type(request) == APPLY_PATCH
    if request.method == "PATCH" and apply and not manager:
        yield FieldError.required("fieldManager", "is required for apply patch")
    if request.method == "PATCH" and not apply and request.param("force"):
        yield FieldError.forbidden("force", "may not be specified for non-apply patch")
    if len(manager.encode()) > _LONGEST_MANAGER:
        yield FieldError.too_long("fieldManager", manager, _LONGEST_MANAGER)
    elif not manager.isprintable():
        yield FieldError.invalid("fieldManager", manager, "should only contain printable characters")
    dry = [one for one in request.query.get("dryRun", ()) if one]
    if any(one != "All" for one in dry):
        yield FieldError.not_supported("dryRun", dry, ["All"])
    if (found := request.param("fieldValidation")) and found not in _VALIDATION:
        yield FieldError.not_supported("fieldValidation", found, ["", *sorted(_VALIDATION)])


def parse(data: bytes, media: str) -> Any:
    """Any JSON or YAML value. Raises BadRequest."""
    if media in _YAML:
        return parse_yaml(data)
    try:
        return decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadRequest(f"couldn't get version/kind; json parse error: {error}") from error


def parse_yaml(data: bytes) -> Any:
    """One YAML document, read as JSON would be: no dates, text keys, no bombs. Raises BadRequest."""
    if data[:1] in (b"{", b"["):
        try:
            return decode(data)  # JSON is YAML, and most of what comes as YAML is JSON
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            pass
    try:
        _check_depth(data)
        value = yaml.load(data, Loader=_JsonLikeLoader)  # a safe loader, see below
        return _json_like(value, [_MOST_NODES])
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise BadRequest(f"error converting YAML to JSON: {error}") from error


def _check_depth(data: bytes) -> None:
    """The C loader composes by recursion, and a body nested deep enough would overflow the stack: a crash, no error."""
    depth = 0
    for event in yaml.parse(data, Loader=_JsonLikeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                raise ValueError(f"exceeded max depth of {_DEEPEST}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def yaml_duplicates(data: bytes) -> list[str]:
    """Keys that a mapping of the (valid) document has twice, as strict decoding words them.

    None of one that was read as JSON, and is no YAML for the control characters in its texts.
    """
    try:
        return _yaml_duplicates(data)
    except yaml.YAMLError:
        return []


def _yaml_duplicates(data: bytes) -> list[str]:
    """Raises yaml.YAMLError."""
    found = []
    open_mappings: list[set[str] | None] = []  # of each open collection the keys seen, None for a sequence
    at_key: list[bool] = []
    for event in yaml.parse(data, Loader=_JsonLikeLoader):
        if isinstance(event, yaml.CollectionEndEvent):
            open_mappings.pop()
            at_key.pop()
        elif isinstance(event, yaml.NodeEvent):
            keys = open_mappings[-1] if open_mappings else None
            if keys is not None:
                if at_key[-1] and isinstance(event, yaml.ScalarEvent):
                    if event.value in keys:
                        line = event.start_mark.line + 1 if event.start_mark else 0
                        found.append(f'line {line}: key "{event.value}" already set in map')
                    keys.add(event.value)
                at_key[-1] = not at_key[-1]
            if isinstance(event, yaml.CollectionStartEvent):
                open_mappings.append(set() if isinstance(event, yaml.MappingStartEvent) else None)
                at_key.append(True)
    return found


class _JsonLikeLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The safe loader less the types that JSON does not have."""


_JsonLikeLoader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _json_like(value: Any, budget: list[int]) -> Any:
    """Text keys and finite numbers; an alias costs what it expands to."""
    budget[0] -= 1
    if budget[0] < 0:
        raise ValueError("the document is too large")
    if isinstance(value, dict):
        return {_key(name): _json_like(inner, budget) for name, inner in value.items()}
    if isinstance(value, list):
        return [_json_like(inner, budget) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is not finite")
    if value is None or isinstance(value, str | int | float):
        return value
    raise ValueError(f"a {type(value).__name__} has no JSON form")


def _key(name: Any) -> str:
    if isinstance(name, bool):
        return str(name).lower()
    if isinstance(name, str | int | float):
        return str(name)
    raise ValueError("a key is not text")


def read_object(request: Request, scheme: Scheme, row: Resource, *, part: str = "") -> Obj:
    """The body as an object of a row or of one of its subresources. Raises BadRequest, UnsupportedMediaType."""
    media = media_type(request)
    validation = field_validation(request)
    if media == PROTOBUF:
        obj = _protobuf(request.body)
    elif media == JSON or media in _YAML:
        obj = parse(request.body, media)
    else:
        raise UnsupportedMediaType(
            f"the body of the request was in an unknown format - accepted media types include: {ACCEPTED}"
        )
    found = row.subresource(part) if part else None
    version = (found.version if found else "") or row.version
    group = (found.group if found else "") or row.group
    typed(obj, f"{group}/{version}" if group else version, found.kind if found else row.kind)
    problems = scheme.conform(obj, row, part=part)
    doubled, twice = (False, []) if validation == "Ignore" else _doubled(request.body, media)
    if doubled:
        problems = decoding.strict_problems(request.body, scheme.type(row, part))
    if twice:
        problems = ["yaml: unmarshal errors:\n  " + "\n  ".join(twice), *problems]
    report(request, problems, validation, version=version, kind=obj["kind"])
    return obj


def _doubled(data: bytes, media: str) -> tuple[bool, list[str]]:
    """Whether a body that was read has a key twice: as JSON, or in YAML's words."""
    if media in _YAML:
        try:
            return False, _yaml_duplicates(data)
        except yaml.YAMLError:
            pass  # JSON that is no YAML, for the control characters in its texts
    return media != PROTOBUF and decoding.duplicates(data), []


def report(request: Request, problems: list[str], validation: str, *, version: str, kind: str) -> None:
    """What strict decoding found, as fieldValidation wants it. Raises BadRequest."""
    if not problems or validation == "Ignore":
        return
    if validation == "Strict":
        raise decoding.strict(problems, version=version, kind=kind)
    for problem in problems:
        warn(request, problem)


def typed(obj: Any, api_version: str, kind: str) -> None:
    """Fill in apiVersion and kind. Raises BadRequest when they are others, or when it is no object at all."""
    if not isinstance(obj, dict):
        raise BadRequest(f"couldn't get version/kind; the body must be an object of kind {kind}")
    have_version, have_kind = obj.get("apiVersion") or api_version, obj.get("kind") or kind
    if have_version != api_version:
        raise BadRequest(
            f"the API version in the data ({have_version}) does not match the expected API version ({api_version})"
        )
    if have_kind != kind:
        raise BadRequest(f"{have_kind} in version {api_version!r} cannot be handled as a {kind}".replace("'", '"'))
    obj["apiVersion"], obj["kind"] = api_version, kind
    if obj.get("metadata") is None:
        obj["metadata"] = {}


def _protobuf(data: bytes) -> Obj:
    from pybernetes.api import proto

    return proto.decode(data)


def read_options(request: Request) -> Obj:
    """DeleteOptions of a body, of the right types; {} for an empty one. Raises BadRequest, UnsupportedMediaType."""
    if not request.body:
        return {}
    media = media_type(request)
    if media != PROTOBUF and media != JSON and media not in _YAML:
        raise UnsupportedMediaType(
            f"the body of the request was in an unknown format - accepted media types include: {ACCEPTED}"
        )
    found = _protobuf(request.body) if media == PROTOBUF else parse(request.body, media)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise BadRequest("couldn't get version/kind; the body must be a DeleteOptions object")
    if found.get("kind") not in (None, "", "DeleteOptions"):
        raise BadRequest(f"{found['kind']} cannot be handled as a DeleteOptions")
    decoding.conform(found, schema.type_of(_DELETE_OPTIONS), version="v1", kind="DeleteOptions")
    return found
