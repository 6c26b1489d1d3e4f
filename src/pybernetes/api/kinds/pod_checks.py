"""Validation of a pod spec as a whole, in a Pod and in templates (ValidatePodSpec)."""

from collections.abc import Collection, Iterator

from .. import names
from ..errors import FieldError
from ..objects import Obj
from . import checks, meta
from .container_checks import containers, seccomp
from .pod_defaults import CONTAINER_LISTS
from .volume_checks import volumes

Problems = Iterator[FieldError]

_EFFECTS = ("NoExecute", "NoSchedule", "PreferNoSchedule")
_NODE_OPERATORS = ("DoesNotExist", "Exists", "Gt", "In", "Lt", "NotIn")
_SYSTEMS = ("linux", "windows")
_MOST_SECONDS = (1 << 31) - 1


def pod_spec(spec: Obj, path: str, *, template_of: str = "") -> Problems:
    """All of it; `template_of` names the kind whose template it is, which restricts restartPolicy."""
    yield from volumes(spec.get("volumes") or (), f"{path}.volumes")
    yield from _containers(spec, path)
    yield from _policies(spec, path, template_of=template_of)
    yield from _names(spec, path)
    yield from _system(spec, path)
    yield from _security(spec.get("securityContext") or {}, f"{path}.securityContext")
    yield from tolerations(spec.get("tolerations") or (), f"{path}.tolerations")
    yield from _affinity(spec.get("affinity") or {}, f"{path}.affinity")
    yield from _spread(spec.get("topologySpreadConstraints") or (), f"{path}.topologySpreadConstraints")
    yield from _dns(spec, path)
    if spec.get("hostNetwork"):
        yield from _host_ports(spec, path)


def _containers(spec: Obj, path: str) -> Problems:
    names_of_volumes = {volume.get("name") for volume in spec.get("volumes") or ()}
    claims = {claim.get("name") for claim in spec.get("resourceClaims") or ()}
    grace = spec.get("terminationGracePeriodSeconds", 30)
    if not spec.get("containers"):
        yield FieldError.required(f"{path}.containers")
    for field in CONTAINER_LISTS:
        found = spec.get(field) or []
        if field == "ephemeralContainers":
            continue
        yield from containers(
            found,
            f"{path}.{field}",
            volumes=names_of_volumes,
            claims=claims,
            grace=grace,
            init=field == "initContainers",
        )
    yield from _unique_containers(spec, path)


def _unique_containers(spec: Obj, path: str) -> Problems:
    seen: set[str] = set()
    for field in ("containers", "initContainers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(field) or ()):
            name = container.get("name") or ""
            if name and name in seen:
                yield FieldError.duplicate(f"{path}.{field}[{index}].name", name)
            seen.add(name)


def _policies(spec: Obj, path: str, *, template_of: str) -> Problems:
    policy = spec.get("restartPolicy")
    if template_of == "Job":
        if policy not in ("OnFailure", "Never"):
            yield FieldError.required(f"{path}.restartPolicy", 'valid values: "OnFailure", "Never"')
    elif template_of and policy != "Always":
        yield FieldError.not_supported(f"{path}.restartPolicy", policy, ("Always",))
    else:
        yield from checks.one_of(policy, f"{path}.restartPolicy", ("Always", "Never", "OnFailure"))
    yield from checks.one_of(
        spec.get("dnsPolicy"), f"{path}.dnsPolicy", ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
    )
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None:
        if template_of in ("Deployment", "ReplicaSet", "DaemonSet", "StatefulSet", "ReplicationController"):
            yield FieldError.forbidden(
                f"{path}.activeDeadlineSeconds", f"activeDeadlineSeconds in {template_of} is not Supported"
            )
        yield from checks.in_range(deadline, f"{path}.activeDeadlineSeconds", 1, _MOST_SECONDS)


def _names(spec: Obj, path: str) -> Problems:
    yield from meta.labels(spec.get("nodeSelector"), f"{path}.nodeSelector")
    rules = {
        "serviceAccountName": names.subdomain,
        "nodeName": names.subdomain,
        "hostname": names.label,
        "subdomain": names.label,
        "priorityClassName": names.subdomain,
        "runtimeClassName": names.subdomain,
    }
    for field, rule in rules.items():
        if value := spec.get(field):
            yield from checks.named(value, f"{path}.{field}", rule)
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        where = f"{path}.hostAliases[{index}]"
        yield from checks.named(alias.get("ip") or "", f"{where}.ip", names.ip)
        for host in alias.get("hostnames") or ():
            yield from checks.named(host, f"{where}.hostnames", names.subdomain)
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        yield from checks.named(
            gate.get("conditionType") or "", f"{path}.readinessGates[{index}].conditionType", names.qualified
        )
    gates = [gate.get("name") or "" for gate in spec.get("schedulingGates") or ()]
    for index, gate in enumerate(gates):
        yield from checks.named(gate, f"{path}.schedulingGates[{index}]", names.qualified)
    yield from checks.unique(gates, lambda index: f"{path}.schedulingGates[{index}]")
    if gates and spec.get("nodeName"):
        yield FieldError.forbidden(f"{path}.nodeName", "cannot be set until all schedulingGates have been cleared")


def _system(spec: Obj, path: str) -> Problems:
    """The operating system, and which of its namespaces are shared."""
    if (system := spec.get("os")) is not None:
        if not system.get("name"):
            yield FieldError.required(f"{path}.os.name", "cannot be empty")
        elif system["name"] not in _SYSTEMS:
            yield FieldError.not_supported(f"{path}.os.name", system["name"], _SYSTEMS)
    if spec.get("hostPID") and spec.get("shareProcessNamespace"):
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        yield FieldError.invalid(f"{path}.shareProcessNamespace", True, detail)


def _security(found: Obj, path: str) -> Problems:
    yield from seccomp(found.get("seccompProfile"), f"{path}.seccompProfile")
    yield from checks.one_of_if_set(
        found.get("fsGroupChangePolicy"), f"{path}.fsGroupChangePolicy", ("Always", "OnRootMismatch")
    )
    yield from checks.one_of_if_set(
        found.get("supplementalGroupsPolicy"), f"{path}.supplementalGroupsPolicy", ("Merge", "Strict")
    )
    for field in ("runAsUser", "runAsGroup", "fsGroup"):
        if (value := found.get(field)) is not None and not 0 <= value <= _MOST_SECONDS:
            yield FieldError.invalid(f"{path}.{field}", value, "must be between 0 and 2147483647, inclusive")
    for index, group in enumerate(found.get("supplementalGroups") or ()):
        if not 0 <= group <= _MOST_SECONDS:
            detail = "must be between 0 and 2147483647, inclusive"
            yield FieldError.invalid(f"{path}.supplementalGroups[{index}]", group, detail)
    yield from checks.unique(
        (one.get("name") for one in found.get("sysctls") or ()), lambda index: f"{path}.sysctls[{index}].name"
    )


def tolerations(found: Collection[Obj], path: str) -> Problems:
    for index, toleration in enumerate(found):
        yield from _toleration(toleration, f"{path}[{index}]")


def _toleration(toleration: Obj, path: str) -> Problems:
    key, operator = toleration.get("key") or "", toleration.get("operator") or "Equal"
    effect, seconds = toleration.get("effect") or "", toleration.get("tolerationSeconds")
    if key:
        yield from checks.named(key, f"{path}.key", names.qualified)
    elif operator != "Exists":
        detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        yield FieldError.invalid(f"{path}.operator", operator, detail)
    if seconds is not None and effect != "NoExecute":
        detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        yield FieldError.invalid(f"{path}.effect", effect, detail)
    match operator:
        case "Equal":
            yield from checks.named(toleration.get("value") or "", f"{path}.operator", names.label_value)
        case "Exists":
            if toleration.get("value"):
                detail = "value must be empty when `operator` is 'Exists'"
                yield FieldError.invalid(f"{path}.operator", toleration["value"], detail)
        case "Gt" | "Lt":
            pass
        case _:
            yield FieldError.not_supported(f"{path}.operator", operator, ("Equal", "Exists"))
    if effect and effect not in _EFFECTS:
        yield FieldError.not_supported(f"{path}.effect", effect, _EFFECTS)


def _affinity(found: Obj, path: str) -> Problems:
    if node := found.get("nodeAffinity"):
        yield from _node_affinity(node, f"{path}.nodeAffinity")
    for field in ("podAffinity", "podAntiAffinity"):
        if pods := found.get(field):
            yield from _pod_affinity(pods, f"{path}.{field}")


def _node_affinity(found: Obj, path: str) -> Problems:
    where = f"{path}.requiredDuringSchedulingIgnoredDuringExecution"
    if (wanted := found.get("requiredDuringSchedulingIgnoredDuringExecution")) is not None:
        terms = wanted.get("nodeSelectorTerms") or []
        if not terms:
            yield FieldError.required(f"{where}.nodeSelectorTerms", "must have at least one node selector term")
        for index, term in enumerate(terms):
            yield from node_term(term, f"{where}.nodeSelectorTerms[{index}]")
    where = f"{path}.preferredDuringSchedulingIgnoredDuringExecution"
    for index, wish in enumerate(found.get("preferredDuringSchedulingIgnoredDuringExecution") or ()):
        yield from _weight(wish.get("weight", 0), f"{where}[{index}].weight")
        yield from node_term(wish.get("preference") or {}, f"{where}[{index}].preference")


def _weight(weight: int, path: str) -> Problems:
    if not 1 <= weight <= 100:
        yield FieldError.invalid(path, weight, "must be in the range 1-100")


def node_term(term: Obj, path: str) -> Problems:
    """A NodeSelectorTerm."""
    for index, expression in enumerate(term.get("matchExpressions") or ()):
        where = f"{path}.matchExpressions[{index}]"
        yield from checks.operator(expression, where, known=_NODE_OPERATORS)
        yield from checks.named(expression.get("key") or "", f"{where}.key", names.qualified)
    for index, expression in enumerate(term.get("matchFields") or ()):
        where = f"{path}.matchFields[{index}]"
        if expression.get("operator") not in ("In", "NotIn"):
            yield FieldError.invalid(f"{where}.operator", expression.get("operator"), "not a valid selector operator")
        elif len(expression.get("values") or ()) != 1:
            detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            yield FieldError.required(f"{where}.values", detail)
        if expression.get("key") != "metadata.name":
            yield FieldError.invalid(f"{where}.key", expression.get("key"), "not a valid field selector key")


def _pod_affinity(found: Obj, path: str) -> Problems:
    where = f"{path}.requiredDuringSchedulingIgnoredDuringExecution"
    for index, term in enumerate(found.get("requiredDuringSchedulingIgnoredDuringExecution") or ()):
        yield from _pod_term(term, f"{where}[{index}]")
    where = f"{path}.preferredDuringSchedulingIgnoredDuringExecution"
    for index, wish in enumerate(found.get("preferredDuringSchedulingIgnoredDuringExecution") or ()):
        yield from _weight(wish.get("weight", 0), f"{where}[{index}].weight")
        yield from _pod_term(wish.get("podAffinityTerm") or {}, f"{where}[{index}].podAffinityTerm")


def _pod_term(term: Obj, path: str) -> Problems:
    yield from checks.selector(term.get("labelSelector"), f"{path}.labelSelector")
    yield from checks.selector(term.get("namespaceSelector"), f"{path}.namespaceSelector")
    for name in term.get("namespaces") or ():
        yield from checks.named(name, f"{path}.namespace", names.label)
    if not term.get("topologyKey"):
        yield FieldError.required(f"{path}.topologyKey", "can not be empty")
    else:
        yield from checks.named(term["topologyKey"], f"{path}.topologyKey", names.qualified)


def _spread(found: Collection[Obj], path: str) -> Problems:
    for index, constraint in enumerate(found):
        where = f"{path}[{index}]"
        yield from checks.positive(constraint.get("maxSkew", 0), f"{where}.maxSkew")
        if not constraint.get("topologyKey"):
            yield FieldError.required(f"{where}.topologyKey", "can not be empty")
        yield from checks.one_of(
            constraint.get("whenUnsatisfiable"), f"{where}.whenUnsatisfiable", ("DoNotSchedule", "ScheduleAnyway")
        )
        yield from checks.selector(constraint.get("labelSelector"), f"{where}.labelSelector")
        for field in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            yield from checks.one_of_if_set(constraint.get(field), f"{where}.{field}", ("Honor", "Ignore"))
        yield from _min_domains(constraint, f"{where}.minDomains")
    pairs = [(one.get("topologyKey"), one.get("whenUnsatisfiable")) for one in found]
    for index, pair in enumerate(pairs):
        if pair in pairs[:index]:
            shown = f"{{{pair[0]}, {pair[1]}}}"
            yield FieldError.duplicate(f"{path}[{index}].{{topologyKey, whenUnsatisfiable}}", shown)


def _min_domains(constraint: Obj, path: str) -> Problems:
    least = constraint.get("minDomains")
    if least is None:
        return
    yield from checks.positive(least, path)
    if constraint.get("whenUnsatisfiable") != "DoNotSchedule":
        found = constraint.get("whenUnsatisfiable")
        detail = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {found}"
        yield FieldError.invalid(path, least, detail)


def _dns(spec: Obj, path: str) -> Problems:
    config = spec.get("dnsConfig")
    servers = (config or {}).get("nameservers") or []
    if spec.get("dnsPolicy") == "None":
        if config is None:
            yield FieldError.required(f"{path}.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None")
        elif not servers:
            detail = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            yield FieldError.required(f"{path}.dnsConfig.nameservers", detail)
    if len(servers) > 3:
        yield FieldError.invalid(f"{path}.dnsConfig.nameservers", servers, "must not have more than 3 nameservers")
    for index, server in enumerate(servers):
        yield from checks.named(server, f"{path}.dnsConfig.nameservers[{index}]", names.ip)
    searches = (config or {}).get("searches") or []
    if len(searches) > 32:
        yield FieldError.invalid(f"{path}.dnsConfig.searches", searches, "must not have more than 32 search paths")
    for index, search in enumerate(searches):
        if search != ".":
            where = f"{path}.dnsConfig.searches[{index}]"
            yield from checks.named(search.removesuffix(".").replace("_", "-"), where, names.subdomain)
    for index, option in enumerate((config or {}).get("options") or ()):
        if not option.get("name"):
            yield FieldError.required(f"{path}.dnsConfig.options[{index}]", "must not be empty")


def _host_ports(spec: Obj, path: str) -> Problems:
    for index, container in enumerate(spec.get("containers") or ()):
        for number, port in enumerate(container.get("ports") or ()):
            if port.get("hostPort") and port["hostPort"] != port.get("containerPort"):
                where = f"{path}.containers[{index}].ports[{number}].containerPort"
                detail = "must match `hostPort` when `hostNetwork` is true"
                yield FieldError.invalid(where, port.get("containerPort"), detail)


def template(spec: Obj, path: str, *, kind: str) -> Problems:
    """spec.template of a workload: labels, annotations and the pod spec."""
    found: Obj = spec.get("template") or {}
    metadata: Obj = found.get("metadata") or {}
    yield from meta.labels(metadata.get("labels"), f"{path}.metadata.labels")
    yield from meta.annotations(metadata.get("annotations"), f"{path}.metadata.annotations")
    yield from pod_spec(found.get("spec") or {}, f"{path}.spec", template_of=kind)
