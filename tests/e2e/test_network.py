# SPDX-License-Identifier: Apache-2.0
"""Ports of the servers under test: nobody else gets them, though tests, clients and strangers open ports beside us."""

import subprocess
import sys
from pathlib import Path

# In a network of its own with eight ports for clients, five of which are held.
RACE = """
import socket, sys
sys.path.insert(0, sys.argv[1])
from support.network import Network

def sock(reuse):
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
    return made

def until_none_is_left(take):
    got = []
    try:
        while True:
            got.append(take())
    except OSError:
        return got, {one.getsockname()[1] for one in got}

def serve(port):
    server = sock(1)
    server.bind(("127.0.0.1", port))
    server.listen(64)
    return server

def bound(reuse):
    made = sock(reuse)
    made.bind(("127.0.0.1", 0))
    return made

network = Network()
held = {network.free_port() for _ in range(5)}
assert len(held) == 5, held
port = min(held)
server = serve(port)
clients, client_ports = until_none_is_left(lambda: socket.create_connection(("127.0.0.1", port)))
assert len(client_ports) == 3 and not client_ports & held, (held, client_ports)
for reuse in (0, 1):
    _, ports = until_none_is_left(lambda: bound(reuse))
    assert not ports & held, (held, ports)
server.close()
serve(port)  # a server that comes back, with old connections still about
"""


def test_a_held_port_goes_to_its_server_and_to_nobody_else(lab):  # lab: this machine lets us make networks
    script = ('range=/proc/sys/net/ipv4/ip_local_port_range; [ -w $range ] || mount -t proc proc /proc; '
              "echo '20000 20007' >$range && ip link set lo up && "
              'exec "$1" -c "$2" "$3"')
    done = subprocess.run(["unshare", "--net", "--mount", "sh", "-c", script, "race", sys.executable, RACE,
                           str(Path(__file__).parents[1])], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
