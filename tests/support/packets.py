"""Packets made by hand."""

import socket
import struct


def datagram(source: str, destination: str, port: int) -> bytes:
    """An IPv4 packet with UDP in it, without a UDP checksum."""
    body = struct.pack(">HHHH", 40000, port, 9, 0) + b"!"
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, 17, 0) + addresses
    total = sum(struct.unpack(">10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + struct.pack(">H", ~total & 0xFFFF) + head[12:] + body
