"""Who may call the kubelet."""

import pytest

from pybernetes.kubelet.peers import Caller, caller_of
from pybernetes.pki import Authority


def der(pair):
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    with open(pair.certificate, "rb") as file:
        return x509.load_pem_x509_certificate(file.read()).public_bytes(Encoding.DER)


def test_subject_of_a_certificate(tmp_path):
    authority = Authority.ensure(tmp_path)
    pair = authority.issue("x", user="kube-apiserver-kubelet-client", groups=["system:masters", "b"])
    caller = caller_of(der(pair))
    assert caller is not None
    assert caller.user == "kube-apiserver-kubelet-client"
    assert set(caller.groups) == {"system:masters", "b"}
    assert caller.allowed


def test_a_node_may_not_call(tmp_path):
    pair = Authority.ensure(tmp_path).issue("x", user="system:node:a", groups=["system:nodes"])
    assert caller_of(der(pair)) == Caller("system:node:a", ("system:nodes",))
    assert not Caller("system:node:a", ("system:nodes",)).allowed


@pytest.mark.parametrize("data", [b"\x30", b"\x30\x03\x02\x01\x01", b"nonsense", b"\x30\x84\xff\xff\xff\xff"])
def test_what_is_no_certificate(data):
    with pytest.raises(ValueError, match="not a certificate"):
        caller_of(data)
    assert caller_of(b"") is None
