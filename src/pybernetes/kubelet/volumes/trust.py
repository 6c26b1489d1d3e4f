"""The trust anchors that a clusterTrustBundle projection shows: pure, over all bundles of the cluster.

Source: kubelet's clustertrustbundle manager. Each certificate is there once, whatever bundles it is in.
"""

import base64
import re
import ssl
from collections.abc import Iterable

from pybernetes.api import selectors
from pybernetes.api.objects import Obj, labels_of, name_of

from ..environment import ConfigError

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)


def anchors(source: Obj, bundles: Iterable[Obj]) -> bytes:
    """PEM; b"" for none where the projection is optional. Raises ConfigError.

    No selector chooses nothing, an empty one all bundles of the signer.
    """
    if name := source.get("name"):
        chosen = [one for one in bundles if name_of(one) == name]
        missing = f'while getting ClusterTrustBundle: clustertrustbundle.certificates.k8s.io "{name}" not found'
    else:
        selector, signer = selectors.of(source.get("labelSelector")), source.get("signerName")
        chosen = [
            one for one in bundles if one["spec"].get("signerName") == signer and selector.matches(labels_of(one))
        ]
        missing = "combination of signerName and labelSelector matched zero ClusterTrustBundles"
    if not chosen and not source.get("optional"):
        raise ConfigError(missing)
    found = {der for one in chosen for der in _certificates(one["spec"]["trustBundle"])}
    return "".join(ssl.DER_cert_to_PEM_cert(der) for der in sorted(found)).encode()


def _certificates(pem: str) -> Iterable[bytes]:
    """The DER of each block; headers and what stands between blocks are left out."""
    for _, body in _BLOCK.findall(pem):
        lines = [line for line in body.splitlines() if ":" not in line]
        yield base64.b64decode("".join(lines))
