"""Names of certificate signers, and of the trust bundles that belong to them (core/validation/names.go)."""

from collections.abc import Iterator

from .. import names
from ..errors import FieldError
from .rules import Problems

_MOST_DOMAIN = 253
_LONGEST = _MOST_DOMAIN + 1 + 63 + 1 + 253
"""A domain, "/", and a path that holds a namespace, "." and a name."""
LEAST_SECONDS, MOST_SECONDS, MOST_BUILTIN_SECONDS = 3600, 91 * 24 * 3600, 24 * 3600
"""How long a pod's certificate may be asked to be valid; the last of Kubernetes' own signers."""


def signer_name(name: str, path: str) -> Problems:
    """A name like example.com/path: a domain of two labels or more, then subdomains joined by dots."""
    if not name:
        yield FieldError.required(path)
        return
    domain, slash, rest = name.partition("/")
    if not slash or "/" in rest:
        detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        yield FieldError.invalid(path, name, detail)
        return
    if len(domain) > _MOST_DOMAIN:
        yield FieldError.too_long(path, domain, _MOST_DOMAIN)
    for part in domain.split("."):
        if problems := list(names.label(part)):
            yield from (FieldError.invalid(path, domain, f'validating label "{part}": {text}') for text in problems)
            break
    if "." not in domain:
        yield FieldError.invalid(path, domain, "should be a domain with at least two segments separated by dots")
    for part in rest.split("."):
        if problems := list(names.subdomain(part)):
            yield from (FieldError.invalid(path, rest, f'validating label "{part}": {text}') for text in problems)
            break
    if len(name) > _LONGEST:
        yield FieldError.too_long(path, name, _LONGEST)


def is_kubernetes(name: str) -> bool:
    """A signer of Kubernetes' own."""
    domain = name.partition("/")[0]
    return domain == "kubernetes.io" or domain.endswith(".kubernetes.io")


def bundle_name_problems(name: str, signer: str | None = None) -> Iterator[str]:
    """What is wrong with the name of a ClusterTrustBundle; `signer` is known, or read from the name itself."""
    if signer is None:
        head, colon, _ = name.rpartition(":")
        signer = head.replace(":", "/") if colon else ""
    if not signer:
        if ":" in name:
            yield 'ClusterTrustBundle without signer name must not have ":" in its name'
            return
        yield from names.subdomain(name)
        return
    prefix = signer.replace("/", ":") + ":"
    if not name.startswith(prefix):
        yield f"ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}"
    else:
        yield from names.subdomain(name.removeprefix(prefix))
