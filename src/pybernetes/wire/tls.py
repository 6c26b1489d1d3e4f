"""TLS contexts: what a server shows and asks for, what a client trusts and shows.

A client's PEM comes as bytes (kubeconfigs embed it) and touches no disk: OpenSSL reads an anonymous file in memory.
"""

import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple


class TlsFiles(NamedTuple):
    """PEM files of a server. With `client_ca` clients may show a certificate, which must then be signed by it.

    A certificate from elsewhere ends the handshake: OpenSSL asks before any request is read, so there is no 401 for
    it (facts/http.md, pitfalls). A client without one is let in, to authenticate with a token.
    """

    certificate: str
    key: str
    client_ca: str = ""

    def server_context(self) -> ssl.SSLContext:
        """Read the files. Raises OSError, ssl.SSLError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(self.certificate, self.key)
        if self.client_ca:
            context.verify_mode = ssl.CERT_OPTIONAL
            context.load_verify_locations(self.client_ca)
        return context


def client_context(
    *, ca: bytes = b"", certificate: bytes = b"", key: bytes = b"", insecure: bool = False
) -> ssl.SSLContext:
    """A client's context: it trusts `ca` alone (the system's without one), and shows `certificate` if there is one."""
    context = ssl.create_default_context(cadata=ca.decode("ascii") if ca else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate:
        with _in_memory(certificate + b"\n" + key) as path:
            context.load_cert_chain(path)
    return context


def presented(host: str, port: int, *, seconds: float = 10.0) -> tuple[bytes, ...]:
    """The certificates (DER) that a server shows, its own first, to who has no reason to trust it yet.

    Nothing is sent but the handshake. Raises OSError, ssl.SSLError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((host, port), timeout=seconds) as plain,
        context.wrap_socket(plain, server_hostname=host) as tls,
    ):
        return _unverified_chain(tls)


def _unverified_chain(tls: ssl.SSLSocket) -> tuple[bytes, ...]:
    """Public since Python 3.13; 3.11 and 3.12 have the same behind an underscore."""
    if (public := getattr(tls, "get_unverified_chain", None)) is not None:
        return tuple(public())
    chain: Any = tls._sslobj.get_unverified_chain()  # type: ignore[attr-defined]
    return tuple(ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in chain)


@contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    descriptor = os.memfd_create("pem")
    try:
        os.write(descriptor, data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
