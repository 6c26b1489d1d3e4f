"""Who calls the kubelet's server, and who may: by the subject of a verified client certificate."""

from typing import NamedTuple

from .der import facts_of

ALLOWED_USERS = frozenset({"kube-apiserver-kubelet-client"})
ALLOWED_GROUPS = frozenset({"system:masters", "kubeadm:cluster-admins", "kubelet-api-admin"})


class Caller(NamedTuple):
    user: str
    groups: tuple[str, ...]

    @property
    def allowed(self) -> bool:
        return self.user in ALLOWED_USERS or bool(ALLOWED_GROUPS & set(self.groups))


def caller_of(certificate: bytes | None) -> Caller | None:
    """None without a certificate. Raises ValueError for what is none."""
    if not certificate:
        return None
    facts = facts_of(certificate)
    return Caller(facts.user, facts.groups)
