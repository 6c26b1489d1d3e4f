"""DefaultStorageClass and DefaultIngressClass: claims and Ingresses that name no class are given the default one."""

from pybernetes.api import resources
from pybernetes.api.objects import Obj, annotations_of, metadata, name_of
from pybernetes.api.resources import Resource

from .call import Call

_STORAGE = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_OLD_CLASS = "volume.beta.kubernetes.io/storage-class"
_INGRESS = ("ingressclass.kubernetes.io/is-default-class",)
_OLD_INGRESS = "kubernetes.io/ingress.class"


def default_storage_class(call: Call) -> None:
    """ "" is a class of its own: no dynamic provisioning."""
    if not call.is_new(resources.PERSISTENT_VOLUME_CLAIMS):
        return
    spec = call.obj.get("spec") or {}
    if spec.get("storageClassName") is not None or _OLD_CLASS in annotations_of(call.obj):
        return
    found = _defaults(call, resources.STORAGE_CLASSES, _STORAGE)
    if found:
        call.obj["spec"]["storageClassName"] = name_of(found[0])


def default_ingress_class(call: Call) -> None:
    """Of several defaults the youngest."""
    if not call.is_new(resources.INGRESSES):
        return
    spec = call.obj.setdefault("spec", {})
    if spec.get("ingressClassName") is not None or _OLD_INGRESS in annotations_of(call.obj):
        return
    found = _defaults(call, resources.INGRESS_CLASSES, _INGRESS)
    if found:
        spec["ingressClassName"] = name_of(found[0])


def _defaults(call: Call, row: Resource, annotations: tuple[str, ...]) -> list[Obj]:
    """The default classes, the youngest first; of one age by name."""
    found = [
        one
        for one in call.registry.select(row)
        if any(annotations_of(one).get(annotation) == "true" for annotation in annotations)
    ]
    found.sort(key=name_of)
    found.sort(key=lambda one: str(metadata(one).get("creationTimestamp", "")), reverse=True)
    return found
