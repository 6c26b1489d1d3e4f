"""ValidatingWebhookConfiguration and MutatingWebhookConfiguration (pkg/apis/admissionregistration/validation)."""

import base64
import binascii
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from .. import names
from ..errors import FieldError
from ..objects import Obj, name_of
from . import checks
from .pod_defaults import fill
from .rules import Table, among, follow, given
from .strategy import Strategy

Problems = Iterator[FieldError]

_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_REVIEWS = ("v1", "v1beta1")
_SIDE_EFFECTS = ("None", "NoneOnDryRun")
_FORM = "; desired format: https://host[/path]"
_MOST_CONDITIONS = 64
CONDITION_VARIABLES = ("object", "oldObject", "request", "authorizer", "authorizer.requestResource")


class WebhookStrategy(Strategy):
    unconditional_update = False
    generation = True

    def __init__(self, *, mutating: bool) -> None:
        self.mutating = mutating

    def default(self, obj: Obj) -> None:
        for hook in obj.get("webhooks") or ():
            fill(hook, {"failurePolicy": "Fail", "matchPolicy": "Equivalent", "timeoutSeconds": 10})
            if self.mutating:
                fill(hook, {"reinvocationPolicy": "Never"})
            for field in ("namespaceSelector", "objectSelector"):
                if hook.get(field) is None:
                    hook[field] = {}
            for rule in hook.get("rules") or ():
                fill(rule, {"scope": "*"})
            if (service := (hook.get("clientConfig") or {}).get("service")) is not None:
                fill(service, {"port": 443})

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        hooks = new.get("webhooks") or []
        for index, hook in enumerate(hooks):
            yield from _webhook(hook, f"webhooks[{index}]", mutating=self.mutating)
        yield from checks.unique((hook.get("name") for hook in hooks), lambda index: f"webhooks[{index}].name")
        yield from reserved_name(new, old)

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        yield from reserved_name_warnings(new, old)
        for index, hook in enumerate(new.get("webhooks") or ()):
            for number, rule in enumerate(hook.get("rules") or ()):
                yield from _unreached(rule, f"webhooks[{index}].rules[{number}]")


_UNREACHED = {
    "authentication.k8s.io": ("selfsubjectreviews", "tokenreviews"),
    "authorization.k8s.io": (
        *("localsubjectaccessreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews", "subjectaccessreviews"),
    ),
}
"""Whoever decides over these decides over the API server itself."""
_RESERVED = ".static.k8s.io"
_RESERVED_TEXT = (
    f'names ending with "{_RESERVED}" are reserved for static manifest-based configurations and cannot be managed via '
    "the API"
)


def _unreached(rule: Obj, path: str) -> Iterator[str]:
    groups, resources = rule.get("apiGroups") or (), rule.get("resources") or ()
    if "*" in groups or "*" in resources:
        return
    named = ((group, one) for group in groups for one in resources if one in _UNREACHED.get(group, ()))
    for group, one in dict.fromkeys(named):
        yield f"{path}: {one}.{group} is excluded from admission webhooks; this rule will have no effect"


def reserved_name(new: Obj, old: Obj | None) -> Problems:
    """Names that only files of the API server's own may have; what has one already keeps it."""
    if old is None and name_of(new).endswith(_RESERVED):
        yield FieldError.invalid("metadata.name", name_of(new), _RESERVED_TEXT)


def reserved_name_warnings(new: Obj, old: Obj | None) -> Iterator[str]:
    if old is not None and name_of(new).endswith(_RESERVED):
        yield f"metadata.name: {_RESERVED_TEXT}"


_BEFORE_SELECTORS: Table = {
    "failurePolicy": given(among("Fail", "Ignore")),
    "matchPolicy": given(among("Equivalent", "Exact")),
}


def _webhook(hook: Obj, path: str, *, mutating: bool) -> Problems:
    yield from _name(hook.get("name") or "", f"{path}.name")
    for index, rule in enumerate(hook.get("rules") or ()):
        yield from operation_rule(rule, f"{path}.rules[{index}]")
    yield from follow(hook, _BEFORE_SELECTORS, path)
    if hook.get("sideEffects") is None:
        yield FieldError.required(f"{path}.sideEffects", f"must specify one of {', '.join(_SIDE_EFFECTS)}")
    else:
        yield from among(*_SIDE_EFFECTS)(hook["sideEffects"], f"{path}.sideEffects")
    seconds = hook.get("timeoutSeconds", 10)
    if not 1 <= seconds <= 30:
        detail = "the timeout value must be between 1 and 30 seconds"
        yield FieldError.invalid(f"{path}.timeoutSeconds", seconds, detail)
    for field in ("namespaceSelector", "objectSelector"):
        yield from checks.selector(hook.get(field), f"{path}.{field}")
    if mutating:
        yield from follow(hook, {"reinvocationPolicy": given(among("IfNeeded", "Never"))}, path)
    yield from client_config(hook.get("clientConfig") or {}, f"{path}.clientConfig")
    yield from _conditions(hook.get("matchConditions") or [], f"{path}.matchConditions")
    yield from review_versions(hook.get("admissionReviewVersions") or [], f"{path}.admissionReviewVersions")


def _name(name: str, path: str) -> Problems:
    if not name:
        yield FieldError.required(path)
    elif problems := list(checks.named(name, path, names.subdomain)):
        yield from problems
    elif name.count(".") < 2:
        detail = "should be a domain with at least three segments separated by dots"
        yield FieldError.invalid(path, name, detail)


def operation_rule(rule: Obj, path: str) -> Problems:
    """A RuleWithOperations: of webhooks and of admission policies."""
    operations = rule.get("operations") or []
    yield from _listed(operations, f"{path}.operations", "operations")
    for index, operation in enumerate(operations):
        yield from among(*_OPERATIONS)(operation, f"{path}.operations[{index}]")
    yield from _listed(rule.get("apiGroups") or [], f"{path}.apiGroups", "API groups")
    versions = rule.get("apiVersions") or []
    yield from _listed(versions, f"{path}.apiVersions", "API versions")
    for index, version in enumerate(versions):
        if not version:
            yield FieldError.required(f"{path}.apiVersions[{index}]")
    yield from _resources(rule.get("resources") or [], f"{path}.resources")
    yield from follow(rule, {"scope": given(among("*", "Cluster", "Namespaced"))}, path)


def _listed(values: Sequence[str], path: str, what: str) -> Problems:
    if not values:
        yield FieldError.required(path)
    if len(values) > 1 and "*" in values:
        yield FieldError.invalid(path, values, f"if '*' is present, must not specify other {what}")


def _resources(values: Sequence[str], path: str) -> Problems:
    if not values:
        yield FieldError.required(path)
    whole: set[str] = set()
    every: set[str] = set()
    for index, value in enumerate(values):
        if not value:
            yield FieldError.required(f"{path}[{index}]")
            continue
        plural, slash, part = value.partition("/")
        if not slash:
            continue
        if plural in whole:
            detail = f"if '{plural}/*' is present, must not specify {value}"
            yield FieldError.invalid(f"{path}[{index}]", value, detail)
        if part in every:
            detail = f"if '*/{part}' is present, must not specify {value}"
            yield FieldError.invalid(f"{path}[{index}]", value, detail)
        if part == "*":
            whole.add(plural)
        if plural == "*":
            every.add(part)
    if len(values) > 1 and "*/*" in values:
        yield FieldError.invalid(path, values, "if '*/*' is present, must not specify other resources")
    if "*" in values and any("/" not in value and value != "*" for value in values):
        detail = "if '*' is present, must not specify other resources without subresources"
        yield FieldError.invalid(path, values, detail)


def client_config(config: Obj, path: str) -> Problems:
    """A WebhookClientConfig: of admission, and of a CustomResourceDefinition's conversion."""
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        yield FieldError.required(path, "exactly one of url or service is required")
    elif url is not None:
        yield from _url(url, f"{path}.url")
    elif service is not None:
        yield from _service(service, f"{path}.service")
    if bundle := config.get("caBundle"):
        yield from _bundle(bundle, f"{path}.caBundle")


def _url(url: str, path: str) -> Problems:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        yield FieldError.required(path, f"url must be a valid URL: {error}{_FORM}")
        return
    if parts.scheme != "https":
        yield FieldError.invalid(path, parts.scheme, f"'https' is the only allowed URL scheme{_FORM}")
    if not parts.hostname:
        yield FieldError.invalid(path, parts.netloc, f"host must be provided{_FORM}")
    if parts.username is not None:
        user = parts.netloc.rpartition("@")[0]
        yield FieldError.invalid(path, user, "user information is not permitted in the URL")
    if parts.fragment:
        yield FieldError.invalid(path, parts.fragment, "fragments are not permitted in the URL")
    if parts.query:
        yield FieldError.invalid(path, parts.query, "query parameters are not permitted in the URL")


def _service(service: Obj, path: str) -> Problems:
    for field in ("name", "namespace"):
        yield from checks.required(service, field, path, f"service {field} is required")
    for problem in names.port_number(service.get("port", 443)):
        yield FieldError.invalid(f"{path}.port", service["port"], f"port is not valid: {problem}")
    target = service.get("path") or "/"
    if target == "/":
        return
    where = f"{path}.path"
    if target == "//":
        yield FieldError.invalid(where, target, "segment[0] may not be empty")
        return
    if not target.startswith("/"):
        yield FieldError.invalid(where, target, "must start with a '/'")
    for index, segment in enumerate(target[1:].removesuffix("/").split("/")):
        if not segment:
            yield FieldError.invalid(where, target, f"segment[{index}] may not be empty")
            continue
        for problem in names.subdomain(segment):
            yield FieldError.invalid(where, target, f"segment[{index}]: {problem}")


def _bundle(bundle: Any, path: str) -> Problems:
    """PEM, in base64: found here and not at the first call."""
    try:
        text = base64.b64decode(bundle, validate=True)
    except (ValueError, TypeError, binascii.Error):
        text = b""
    if b"-----BEGIN CERTIFICATE-----" not in text:
        detail = "unable to load root certificates: unable to parse bytes as PEM block"
        yield FieldError.invalid(path, bundle, detail)


def _conditions(conditions: Sequence[Obj], path: str) -> Problems:
    if len(conditions) > _MOST_CONDITIONS:
        yield FieldError.too_many(path, len(conditions), _MOST_CONDITIONS)
    for index, one in enumerate(conditions):
        where = f"{path}[{index}]"
        if not (one.get("expression") or "").strip():
            yield FieldError.required(f"{where}.expression")
        else:
            yield from _compiles(one["expression"], f"{where}.expression")
        if not one.get("name"):
            yield FieldError.required(f"{where}.name")
        else:
            yield from checks.named(one["name"], f"{where}.name", names.qualified)
    yield from checks.unique((one.get("name") for one in conditions), lambda index: f"{path}[{index}].name")


def _compiles(expression: str, path: str) -> Problems:
    """What cannot be evaluated here is refused, rather than left out when it counts."""
    from .. import cel  # few servers ever see an expression

    try:
        program = cel.compiled(expression, CONDITION_VARIABLES)
    except cel.Broken as error:
        yield FieldError.invalid(path, expression, f"compilation failed: {error}")
        return
    if program.returns not in ("bool", "dyn"):
        yield FieldError.invalid(path, expression, "must evaluate to bool")


def review_versions(versions: Sequence[str], path: str) -> Problems:
    """The versions of reviews that a webhook takes: one at least that is known here."""
    if not versions:
        yield FieldError.required(path, f"must specify one of {', '.join(_REVIEWS)}")
        return
    seen: set[str] = set()
    for index, version in enumerate(versions):
        if version in seen:
            yield FieldError.invalid(f"{path}[{index}]", version, "duplicate version")
            continue
        seen.add(version)
        yield from checks.named(version, f"{path}[{index}]", names.label_1035)
    if not seen.intersection(_REVIEWS):
        yield FieldError.invalid(path, versions, f"must include at least one of {', '.join(_REVIEWS)}")
