"""TLS contexts: what a server shows and asks for, what a client trusts and shows.

A client's PEM comes as bytes (kubeconfigs embed it) and touches no disk: OpenSSL reads an anonymous file in memory.
"""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


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


@contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    descriptor = os.memfd_create("pem")
    try:
        os.write(descriptor, data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
