"""Built-in versions of kinds that are deprecated, and what their clients are told.

The words are kube-apiserver's, which clients print (`kubectl --warnings-as-errors`) and scripts look for. Sources: the
lifecycle tags of k8s.io/api/core/v1; KEP-4974 for Endpoints. None of them has a release in which it goes.
"""

from collections.abc import Mapping

WARNINGS: Mapping[tuple[str, str, str], str] = {
    ("", "v1", "ComponentStatus"): "v1 ComponentStatus is deprecated in v1.19+",
    ("", "v1", "Endpoints"): "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
}
"""By group, version and kind."""
