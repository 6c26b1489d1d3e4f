"""Pods that serve and pods that call, in a namespace of a real cluster, and the questions asked of them by kubectl."""

import json

# Each connection or datagram is answered with the name of the host and the port that it came to.
SERVER = r"""
import os, selectors, socket, sys
wait = selectors.DefaultSelector()
for word in sys.argv[1:]:
    kind, port = word.split(":")
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind(("", int(port)))
    if kind == "tcp":
        one.listen(50)
    wait.register(one, selectors.EVENT_READ, (kind, port))
while True:
    for key, _ in wait.select():
        kind, port = key.data
        if kind == "tcp":
            peer, address = key.fileobj.accept()
            peer.sendall(f"{os.environ['HOSTNAME']} {kind} {port} {address[0]}\n".encode())
            peer.close()
        else:
            _, address = key.fileobj.recvfrom(2000)
            key.fileobj.sendto(f"{os.environ['HOSTNAME']} {kind} {port} {address[0]}\n".encode(), address)
"""

# Calls a target so many times, a fresh socket each time; prints each answer or the error's name.
CALLER = r"""
import socket, sys
kind, host, port, times = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
for _ in range(times):
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    one.settimeout(30)
    try:
        one.connect((host, port))
        if kind == "udp":
            one.send(b"?")
        print(one.recv(2000).decode().strip() or "empty")
    except OSError as error:
        print(type(error).__name__)
    finally:
        one.close()
"""


def pod(name, *, labels=None, spec=None, **container):
    container = {"name": "main", "image": "host", "command": ["sleep", "3600"]} | container
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]} | (spec or {}),
    }


def server(name, *sockets, labels, ports=(), spec=None, **container):
    command = ["python3", "-u", "-c", SERVER, *sockets]
    return pod(name, labels=labels, spec=spec, command=command, ports=list(ports), **container)


def service(name, *ports, **spec):
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": ({"ports": list(ports)} if ports else {}) | spec,
    }


def on(node):
    return {"nodeSelector": {"kubernetes.io/hostname": node}}


class Town:
    """The pods and Services of this module, and the questions asked of them."""

    def __init__(self, cluster, namespace):
        self.cluster, self.namespace = cluster, namespace

    def kubectl(self, *argv, text=""):
        return self.cluster.kubectl("-n", self.namespace, *argv, text=text)

    def apply(self, *objects):
        self.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def get(self, *argv):
        return self.cluster.get(*argv, "-n", self.namespace)

    def run(self, pod, *command, text=""):
        """The output of a command in a pod."""
        return self.kubectl("exec", *(["-i"] if text else []), pod, "--", *command, text=text)

    def python(self, pod, script, *argv):
        return self.run(pod, "python3", "-c", script, *argv)

    def call(self, host, port, *, caller="caller-1", kind="tcp", times=1):
        """The answers, one a line: `name kind port peer`, or the name of the error."""
        return self.python(caller, CALLER, kind, host, str(port), str(times)).splitlines()

    def spread(self, *target, times=40, **options):
        return {answer.split()[0] for answer in self.call(*target, times=times, **options)}

    def ready(self, *pods):
        self.kubectl("wait", "--for=condition=Ready", *[f"pod/{name}" for name in pods], "--timeout=100s")

    def service(self, name):
        return self.get("service", name)["spec"]

    def endpoints(self, name):
        slices = self.get("endpointslices", "-l", f"kubernetes.io/service-name={name}")["items"]
        return {
            endpoint["targetRef"]["name"]
            for one in slices
            for endpoint in one.get("endpoints") or []
            if endpoint["conditions"]["ready"]
        }

    def address(self, pod):
        return self.get("pod", pod)["status"]["podIP"]

    def resolve(self, *words, caller="caller-1"):
        """The text of each record that a pod's resolver finds; the exception's name when it finds none."""
        return sorted(self.python(caller, RESOLVE, *words).splitlines())


RESOLVE = r"""
import random, socket, struct, sys
TYPES = {"A": 1, "CNAME": 5, "PTR": 12, "TXT": 16, "AAAA": 28, "SRV": 33}

def name(data, at):
    labels, end = [], None
    while data[at]:
        if data[at] >= 0xC0:
            end = end or at + 2
            at = (data[at] & 0x3F) << 8 | data[at + 1]
            continue
        labels.append(data[at + 1 : at + 1 + data[at]].decode())
        at += 1 + data[at]
    return ".".join(labels), end or at + 1

def text(kind, data, at, size):
    if kind in (1, 28):
        return socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, data[at : at + size])
    if kind == 33:
        return "%d %d %d " % struct.unpack("!3H", data[at : at + 6]) + name(data, at + 6)[0]
    return name(data, at)[0] if kind in (5, 12) else data[at + 1 : at + size].decode()

server = next(line.split()[1] for line in open("/etc/resolv.conf") if line.startswith("nameserver"))
kind, asked = sys.argv[1:3]
query = struct.pack("!6H", random.randrange(65536), 0x0100, 1, 0, 0, 0)
query += b"".join(bytes([len(part)]) + part.encode() for part in asked.split(".")) + b"\0"
query += struct.pack("!2H", TYPES[kind], 1)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
    udp.settimeout(30)
    udp.connect((server, 53))
    udp.send(query)
    data = udp.recv(4096)
code, count = data[3] & 15, struct.unpack("!H", data[6:8])[0]
at = name(data, 12)[1] + 4
if code or not count:
    print({0: "NODATA", 3: "NXDOMAIN"}.get(code, f"RCODE{code}"))
for _ in range(count):
    at = name(data, at)[1]
    kind, _, _, size = struct.unpack("!2HIH", data[at : at + 10])
    print(next(k for k, v in TYPES.items() if v == kind), text(kind, data, at + 10, size))
    at += 10 + size
"""
