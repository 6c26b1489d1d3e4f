"""Validation of a pod spec as a whole, in a Pod and in templates (ValidatePodSpec)."""

from collections.abc import Sequence

from .. import names, quota
from ..errors import FieldError
from ..objects import Obj, annotations_of, labels_of
from . import checks, meta
from .affinity_checks import affinity, spread, tolerations
from .container_checks import Scope, containers, ephemeral_containers, image, init_containers
from .resource_checks import pod_requirements, requirements
from .rules import Problems, Table, among, between, each, follow, given, inside, matching, may, need
from .security_checks import pod_annotations, pod_security, system
from .volume_checks import good_volumes, volumes

_MOST_SECONDS = (1 << 31) - 1
_MOST_NAMESERVERS, _MOST_SEARCHES, _MOST_SEARCH_BYTES = 3, 32, 2048
_TEMPLATES_OF_RUNNING = ("Deployment", "ReplicaSet", "DaemonSet", "StatefulSet", "ReplicationController")


def _gate(gate: Obj, path: str) -> Problems:
    yield from checks.named(gate.get("name") or "", path, names.qualified)


_DEADLINE = between(1, _MOST_SECONDS)
_SUBDOMAIN, _LABEL = matching(names.subdomain), matching(names.label)
_POLICIES: Table = {
    "restartPolicy": need(among("Always", "OnFailure", "Never")),
    "dnsPolicy": need(among("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")),
    "nodeSelector": may(meta.labels),
}
_HOST_ALIAS: Table = {"ip": given(matching(names.ip)), "hostnames": may(each(_SUBDOMAIN))}
_GATE: Table = {"conditionType": given(matching(names.qualified))}
_REST: Table = {
    "affinity": may(affinity),
    "readinessGates": may(each(inside(_GATE))),
    "topologySpreadConstraints": may(spread),
    "serviceAccountName": may(_SUBDOMAIN),
    "nodeName": may(_SUBDOMAIN),
    "activeDeadlineSeconds": given(_DEADLINE),
    "hostname": may(_LABEL),
    "subdomain": may(_LABEL),
    "tolerations": may(tolerations),
    "hostAliases": may(each(inside(_HOST_ALIAS))),
    "priorityClassName": may(_SUBDOMAIN),
    "runtimeClassName": given(_SUBDOMAIN),
    "preemptionPolicy": given(among("PreemptLowerPriority", "Never")),
    "schedulingGroup": given(inside({"podGroupName": need(_SUBDOMAIN)})),
}


def pod_spec(spec: Obj, path: str, *, pod_name: str = "", is_pod: bool = False) -> Problems:
    """All of it. `is_pod`: not a template, which is held to less; `pod_name` is known of a pod only."""
    if spec.get("terminationGracePeriodSeconds") is None:
        yield FieldError.required(f"{path}.terminationGracePeriodSeconds")
    wrong = list(volumes(spec.get("volumes") or (), f"{path}.volumes", pod_name=pod_name))
    yield from wrong
    if spec.get("resourceClaims"):
        yield from _claims(spec["resourceClaims"], f"{path}.resourceClaims")
    yield from _containers(spec, path, clean=not wrong)
    if spec.get("resources") is not None:
        asked = {field: spec.get(field) for field in ("containers", "initContainers")}
        requested = quota.pod_requests({"spec": asked})
        yield from pod_requirements(spec, f"{path}.resources", requested=requested)
    if spec.get("hostNetwork"):
        yield from _host_ports(spec, path, is_pod=is_pod)
    yield from follow(spec, _POLICIES, path)
    yield from pod_security(spec, path)
    yield from follow(spec, _REST, path)
    yield from _dns(spec, path)
    yield from _scheduling_gates(spec, path)
    yield from _hostname(spec, path)
    if spec.get("overhead"):
        yield from requirements({"limits": spec["overhead"]}, f"{path}.overhead")
    yield from system(spec, path)


def _containers(spec: Obj, path: str, *, clean: bool) -> Problems:
    """`clean`: nothing is wrong with any of the volumes, so that they need not be looked at again."""
    found = spec.get("volumes") or ()
    main, init = spec.get("containers") or [], spec.get("initContainers") or []
    short_lived = spec.get("ephemeralContainers") or []
    scope = Scope(
        volumes={volume.get("name", ""): volume for volume in found} if clean else good_volumes(found),
        claims={claim.get("name") for claim in spec.get("resourceClaims") or () if claim.get("name")},
        grace=spec.get("terminationGracePeriodSeconds"),
        policy=spec.get("restartPolicy") or "",
        host_users=spec.get("hostUsers") is not False,
    )
    if not main:
        yield FieldError.required(f"{path}.containers")
    yield from containers(main, f"{path}.containers", scope)
    if init:
        taken = {container.get("name") or "" for container in main}
        yield from init_containers(init, f"{path}.initContainers", scope, taken=taken)
    if short_lived:
        others = {container.get("name") or "" for container in (*main, *init)}
        yield from ephemeral_containers(short_lived, f"{path}.ephemeralContainers", scope, others=others)


_CLAIM: Table = {"resourceClaimName": given(_SUBDOMAIN), "resourceClaimTemplateName": given(_SUBDOMAIN)}


def _claims(found: list[Obj], path: str) -> Problems:
    """spec.resourceClaims: each named, and made from a claim or from a template."""
    seen: set[str] = set()
    for index, claim in enumerate(found):
        where, name = f"{path}[{index}]", claim.get("name") or ""
        if not name:
            yield FieldError.required(f"{where}.name")
        elif name in seen:
            yield FieldError.duplicate(f"{where}.name", name)
        else:
            yield from _LABEL(name, f"{where}.name")
        seen.add(name)
        sources = [field for field in _CLAIM if claim.get(field) is not None]
        if len(sources) > 1:
            detail = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            yield FieldError.invalid(where, claim, detail)
        elif not sources:
            detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            yield FieldError.invalid(where, claim, detail)
        yield from follow(claim, _CLAIM, where)


def _host_ports(spec: Obj, path: str, *, is_pod: bool) -> Problems:
    """On the host's network a port is the host's; a template may leave that to the pod's defaults."""
    for index, container in enumerate(spec.get("containers") or ()):
        for number, port in enumerate(container.get("ports") or ()):
            host = port.get("hostPort") or 0
            if (is_pod or host) and host != port.get("containerPort"):
                where = f"{path}.containers[{index}].ports[{number}].hostPort"
                yield FieldError.invalid(where, host, "must match `containerPort` when `hostNetwork` is true")


def _scheduling_gates(spec: Obj, path: str) -> Problems:
    gates = spec.get("schedulingGates") or []
    seen: set[str] = set()
    for index, gate in enumerate(gates):
        where, name = f"{path}.schedulingGates[{index}]", gate.get("name") or ""
        yield from _gate(gate, where)
        if name in seen:
            yield FieldError.duplicate(where, name)
        seen.add(name)


def _hostname(spec: Obj, path: str) -> Problems:
    """hostnameOverride (KEP-4762): a name of its own, so not the host's, nor made of the pod's."""
    name = spec.get("hostnameOverride")
    if name is None:
        return
    where = f"{path}.hostnameOverride"
    yield from _SUBDOMAIN(name, where)
    if len(name) > 64:
        yield FieldError.too_long(where, name, 64)
    if spec.get("hostNetwork"):
        yield FieldError.forbidden(where, "may not be specified when hostNetwork is true")
    if spec.get("setHostnameAsFQDN"):
        yield FieldError.forbidden(where, "may not be specified when setHostnameAsFQDN is true")


def _dns(spec: Obj, path: str) -> Problems:
    config, where = spec.get("dnsConfig"), f"{path}.dnsConfig"
    servers = (config or {}).get("nameservers") or []
    if spec.get("dnsPolicy") == "None":
        if config is None:
            yield FieldError.required(where, "must provide `dnsConfig` when `dnsPolicy` is None")
        elif not servers:
            detail = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            yield FieldError.required(f"{where}.nameservers", detail)
    if config is not None and (servers or spec.get("dnsPolicy") != "None"):
        yield from _dns_config(config, where)


def _dns_config(config: Obj, path: str) -> Problems:
    servers, searches = config.get("nameservers") or [], config.get("searches") or []
    if len(servers) > _MOST_NAMESERVERS:
        detail = f"must not have more than {_MOST_NAMESERVERS} nameservers"
        yield FieldError.invalid(f"{path}.nameservers", servers, detail)
    for index, server in enumerate(servers):
        yield from checks.named(server, f"{path}.nameservers[{index}]", names.ip)
    if len(searches) > _MOST_SEARCHES:
        detail = f"must not have more than {_MOST_SEARCHES} search paths"
        yield FieldError.invalid(f"{path}.searches", searches, detail)
    if len(" ".join(searches)) > _MOST_SEARCH_BYTES:
        detail = f"must not have more than {_MOST_SEARCH_BYTES} characters (including spaces) in the search list"
        yield FieldError.invalid(f"{path}.searches", searches, detail)
    for index, search in enumerate(searches):
        if search != ".":
            yield from checks.named(
                search.removesuffix("."), f"{path}.searches[{index}]", names.subdomain_with_underscore
            )
    for index, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            yield FieldError.required(f"{path}.options[{index}]", "must not be empty")


def pod(obj: Obj) -> Problems:
    """A Pod's spec and annotations, on create and on every change of the spec (validatePodMetadataAndSpec)."""
    spec: Obj = obj.get("spec") or {}
    yield from pod_annotations(obj, spec, "metadata.annotations")
    yield from pod_spec(spec, "spec", pod_name=(obj.get("metadata") or {}).get("name") or "", is_pod=True)
    for index, volume in enumerate(spec.get("volumes") or ()):
        sources = (volume.get("projected") or {}).get("sources") or ()
        for number, source in enumerate(sources if not spec.get("serviceAccountName") else ()):
            if source.get("serviceAccountToken") is not None:
                where = f"spec.volumes[{index}].projected.sources[{number}].serviceAccountToken"
                yield FieldError.forbidden(where, "must not be specified when serviceAccountName is not set")
        if volume.get("image") is not None and not volume["image"].get("reference"):
            yield FieldError.required(f"spec.volumes[{index}].image.reference")
    for field in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(field) or ()):
            yield from image(container, f"spec.{field}[{index}]")


def template(spec: Obj, path: str, *, kind: str, added: Sequence[Obj] = ()) -> Problems:
    """spec.template of a workload; `kind` restricts what its pods may do. `added` volumes come before the template's,
    and instead of those of the same name."""
    found: Obj = spec.get("template") or {}
    yield from template_spec(_with_volumes(found, added) if added else found, path)
    inner: Obj = found.get("spec") or {}
    policy, where = inner.get("restartPolicy") or "", f"{path}.spec.restartPolicy"
    if kind in _TEMPLATES_OF_RUNNING:
        if policy != "Always":
            yield FieldError.not_supported(where, policy, ("Always",))
        if inner.get("activeDeadlineSeconds") is not None:
            detail = f"activeDeadlineSeconds in {kind} is not Supported"
            yield FieldError.forbidden(f"{path}.spec.activeDeadlineSeconds", detail)


def _with_volumes(found: Obj, added: Sequence[Obj]) -> Obj:
    inner: Obj = found.get("spec") or {}
    taken = {volume["name"] for volume in added}
    others = [volume for volume in inner.get("volumes") or () if volume.get("name") not in taken]
    return found | {"spec": inner | {"volumes": [*added, *others]}}


def template_spec(found: Obj, path: str) -> Problems:
    """A PodTemplateSpec (ValidatePodTemplateSpec)."""
    yield from meta.labels(labels_of(found), f"{path}.labels")
    yield from meta.annotations(annotations_of(found), f"{path}.annotations")
    inner: Obj = found.get("spec") or {}
    yield from pod_annotations(found, inner, f"{path}.annotations")
    yield from pod_spec(inner, f"{path}.spec")
    if inner.get("ephemeralContainers"):
        detail = "ephemeral containers not allowed in pod template"
        yield FieldError.forbidden(f"{path}.spec.ephemeralContainers", detail)
