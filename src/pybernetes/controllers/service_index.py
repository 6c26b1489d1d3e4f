"""From a pod to the Services that select it, without looking at all Services of the namespace."""

from collections.abc import Callable, Iterable

from pybernetes.api import selectors
from pybernetes.api.objects import Key, Obj, key_of, labels_of, namespace_of
from pybernetes.client import Delta, Informer

from .endpoints_of import changed_for_endpoints

BY_PAIR = "selector"
"""Index of Services by one pair of their selector: a pod matches only if it has that pair."""


def by_pair(service: Obj) -> Iterable[str]:
    selector = (service.get("spec") or {}).get("selector") or {}
    if selector:
        label = min(selector)
        yield _value(namespace_of(service), label, selector[label])


def _value(namespace: str, label: str, value: str) -> str:
    return f"{namespace} {label}={value}"


def services_of(services: Informer, pod: Obj) -> set[Key]:
    """The Services (informer with index BY_PAIR) whose selector matches the pod's labels."""
    labels = labels_of(pod)
    namespace = namespace_of(pod)
    return {
        key_of(service)
        for label, value in labels.items()
        for service in services.cache.indexed(BY_PAIR, _value(namespace, label, value))
        if selectors.exact(service["spec"]["selector"]).matches(labels)
    }


def enqueue_services(add: Callable[[Key], None], services: Informer) -> Callable[[Delta], None]:
    """Handler for pods: the Services that select it, before or after a change that matters to endpoints."""

    def handle(delta: Delta) -> None:
        was, now = delta
        if was is not None and now is not None and not changed_for_endpoints(was, now):
            return
        for pod in (was, now):
            if pod is not None:
                for key in services_of(services, pod):
                    add(key)

    return handle
