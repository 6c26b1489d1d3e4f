"""Certificates that the cluster signs and trusts, and the flow control of the API server."""

from collections.abc import Iterator

from ..errors import FieldError
from ..objects import Obj, metadata
from . import checks, meta
from .pod_defaults import fill
from .strategy import Strategy

Problems = Iterator[FieldError]


_USAGES = (
    *("any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment"),
    *("decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel"),
    *("ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime"),
    *("server auth", "signing", "timestamping"),
)


class CertificateSigningRequestStrategy(Strategy):
    name_rule = staticmethod(meta.path_name)  # a kubelet's request is named after its key, capitals and all
    status = True

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("usages"):
            spec["usages"] = ["digital signature", "key encipherment"]

    def prepare(self, new: Obj, old: Obj | None, *, part: str = "") -> None:
        """The approval part writes conditions only; the status part everything else."""
        if old is None or part not in ("approval", "status"):
            super().prepare(new, old, part=part)
            return
        sent: Obj = new.get("status") or {}
        super().prepare(new, old, part="status")
        before: Obj = old.get("status") or {}
        if part == "approval":
            new["status"] = before | ({"conditions": sent["conditions"]} if "conditions" in sent else {})

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        for field in ("request", "signerName", "usages"):
            yield from checks.required(spec, field, "spec")
        usages = spec.get("usages") or []
        for index, usage in enumerate(usages):
            if usage not in _USAGES:
                yield FieldError.not_supported(f"spec.usages[{index}]", usage, _USAGES)
        yield from checks.unique(usages, lambda index: f"spec.usages[{index}]")
        signer = spec.get("signerName") or ""
        if signer and "/" not in signer:
            detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
            yield FieldError.invalid("spec.signerName", signer, detail)
        if (seconds := spec.get("expirationSeconds")) is not None and seconds < 600:
            detail = "may not specify a duration less than 600 seconds (10 minutes)"
            yield FieldError.invalid("spec.expirationSeconds", seconds, detail)
        if old is not None:
            yield from meta.immutable(spec, old.get("spec") or {}, "spec")


class FlowSchemaStrategy(Strategy):
    name_rule = staticmethod(meta.subdomain_name)
    generation = True
    status = True

    def default(self, obj: Obj) -> None:
        fill(obj.setdefault("spec", {}), {"matchingPrecedence": 1000})

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        precedence = spec.get("matchingPrecedence", 0)
        if not 1 <= precedence <= 10000:
            detail = "must be less than or equal to 10000" if precedence > 0 else "must be a positive value"
            yield FieldError.invalid("spec.matchingPrecedence", precedence, detail)
        if not (spec.get("priorityLevelConfiguration") or {}).get("name"):
            yield FieldError.required("spec.priorityLevelConfiguration.name", "must reference a priority level")


class PriorityLevelStrategy(Strategy):
    generation = True
    status = True

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        limited = spec.get("limited")
        if limited is not None:
            fill(limited, {"nominalConcurrencyShares": 30, "lendablePercent": 0})
            response = limited.setdefault("limitResponse", {})
            fill(response, {"type": "Reject"})
            if response["type"] == "Queue":
                queuing = response.setdefault("queuing", {})
                fill(queuing, {"handSize": 8, "queues": 64, "queueLengthLimit": 50})
        if spec.get("type") == "Exempt":
            fill(spec.setdefault("exempt", {}), {"nominalConcurrencyShares": 0, "lendablePercent": 0})

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        kind = spec.get("type")
        yield from checks.one_of(kind, "spec.type", ("Exempt", "Limited"))
        if kind == "Limited" and spec.get("limited") is None:
            yield FieldError.required("spec.limited", "must not be empty when type is Limited")
        if kind == "Exempt" and spec.get("limited") is not None:
            yield FieldError.forbidden("spec.limited", "must be nil if the type is not Limited")


class TrustBundleStrategy(Strategy):
    """A bundle of a signer is named after it: "signer:name"."""

    name_rule = staticmethod(meta.path_name)

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        yield from checks.required(spec, "trustBundle", "spec")
        signer, name = spec.get("signerName") or "", str(metadata(new).get("name", ""))
        prefix = signer.replace("/", ":") + ":"
        if signer and not name.startswith(prefix):
            detail = f"ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}"
            yield FieldError.invalid("metadata.name", name, detail)
        if not signer and ":" in name:
            yield FieldError.invalid(
                "metadata.name", name, 'ClusterTrustBundle without signer name must not have ":" in its name'
            )
        if old is not None:
            yield from meta.immutable(signer, (old.get("spec") or {}).get("signerName") or "", "spec.signerName")
