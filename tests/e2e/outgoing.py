"""What a stack sends to anybody outside its own networks, seen from where it would have to pass."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tests.e2e.docker_host import DockerHost
from tests.e2e.stack import Stack

# A bridge hands its own end, and so this socket, only what is for nobody on it: what leaves the network, to the host or
# through it. Containers that come and go are all behind it. One line for each thing sent for the first time.
_LISTENER: Final = """
import selectors, socket, struct, sys

selector = selectors.DefaultSelector()
for bridge in sys.argv[1:]:
    listening = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    listening.bind((bridge, 0))
    selector.register(listening, selectors.EVENT_READ, bridge)
print("listening", flush=True)
told, known = set(), set()


def question(payload):
    labels, at = [], 12
    while at < len(payload) and payload[at]:
        labels.append(payload[at + 1 : at + 1 + payload[at]].decode(errors="replace"))
        at += 1 + payload[at]
    return ".".join(labels)


while True:
    for key, _ in selector.select():
        frame, (_, _, direction, *_) = key.fileobj.recvfrom(2048)
        kind, packet = frame[12:14], frame[14:]
        if kind == b"\\x08\\x00":
            head, protocol = (packet[0] & 15) * 4, packet[9]
            source, target = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
        elif kind == b"\\x86\\xdd":
            head, protocol = 40, packet[6]
            source = socket.inet_ntop(socket.AF_INET6, packet[8:24])
            target = socket.inet_ntop(socket.AF_INET6, packet[24:40])
            if target.startswith("ff"):  # how neighbours find each other
                continue
        else:
            continue
        if protocol not in (6, 17):
            continue
        ports = struct.unpack("!HH", packet[head : head + 4])
        if direction == socket.PACKET_OUTGOING:  # somebody outside asks first: what follows is the answer
            known.add((protocol, source, ports[0], target, ports[1]))
            continue
        if (protocol, target, ports[1], source, ports[0]) in known:
            continue
        if protocol == 6 and packet[head + 13] & 0x12 != 0x02:  # nothing but SYN begins a connection
            continue
        what = f"asks {target} for the name {question(packet[head + 8:])}" if ports[1] == 53 else (
            f"{'connects to' if protocol == 6 else 'sends to'} {target}:{ports[1]}"
        )
        if (source, what) not in told:
            told.add((source, what))
            print(source, what, flush=True)
"""


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """What has left the networks of a stack so far."""

    container: str
    host: DockerHost
    settle_seconds: float = 2.0

    def seen(self) -> list[str]:
        """Return what was sent, a line each: by whom (its address), and what to whom."""
        time.sleep(self.settle_seconds)
        return self.host.docker("logs", self.container).splitlines()[1:]


@contextmanager
def watched(stack: Stack) -> Iterator[Outgoing]:
    """Watch what leaves the networks of a stack, by a container beside it that may do nothing but listen."""
    host = stack.host
    networks = json.loads(host.docker("network", "inspect", *host.ids("network", stack.prefix)))
    bridges = [f"br-{network['Id'][:12]}" for network in networks]
    image = stack.containers()["server"]["Image"]
    name = f"{stack.prefix}-listener"
    flags = ("--rm", "--detach", "--network=host", "--cap-drop=ALL", "--cap-add=NET_RAW", "--user=0:0")
    host.docker("run", *flags, "--name", name, "--entrypoint=python3", image, "-u", "-c", _LISTENER, *bridges)
    try:
        deadline = time.monotonic() + 30
        while "listening" not in host.docker("logs", name):
            assert time.monotonic() < deadline, "the listener does not come up"
            time.sleep(0.2)
        yield Outgoing(container=name, host=host)
    finally:
        subprocess.run(
            ["docker", "--host", host.address, "rm", "--force", name], capture_output=True, timeout=60, check=False
        )
