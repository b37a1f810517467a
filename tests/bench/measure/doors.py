# SPDX-License-Identifier: Apache-2.0
"""Row 3: what a whole `ssh broker cert` costs the broker's processor, beside a libssh server that does nothing."""

import random
import statistics
import subprocess
import time

from support import ssh
from support.keys import KeyPair

from .processes import cpu_seconds, tree
from .programs import BENCH, sized
from .stand import new_stand
from .table import Figure

ROUNDS = sized(60, 1)
WARM_UP = sized(3, 1)
CLIENT = ["BatchMode=yes", "LogLevel=ERROR", "KexAlgorithms=curve25519-sha256"]


def whole_session():
    with new_stand() as stand:
        key = KeyPair.generate(stand.place.folder("keys"))
        stand.start_broker([key.public])
        network = stand.broker.network
        port = network.free_port()
        floor = subprocess.Popen([BENCH / "floor_door", network.address, str(port)], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, text=True)
        stand.place.started(floor.pid)
        try:
            floor.stdout.readline()
            servers = [(stand.broker.door_port, tree(stand.broker.daemon.pid)), (port, [floor.pid])]
            ours, bare = _cpu_of_sessions(network, key, servers)
        finally:
            floor.kill()
            floor.wait()
    return [Figure.at_most("3", "a whole `ssh broker cert`, server CPU, beside an empty libssh session",
                           f"{ours:.0f} us", f"{bare:.0f} us", ours / bare, 1.3)]


def _cpu_of_sessions(network, key, servers):
    """The median CPU micros of one session at each of the servers, which take turns."""
    took = [[] for _ in servers]
    for number in range(-WARM_UP, ROUNDS):
        for index in random.sample(range(len(servers)), len(servers)):
            port, pids = servers[index]
            before = cpu_seconds(pids)
            argv = ssh.arguments(network, network.address, port, "bench-0", key, ["cert"], options=CLIENT)
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise RuntimeError(f"no session: {done.stderr.strip()}")
            _settle(pids)
            if number >= 0:
                took[index].append((cpu_seconds(pids) - before) * 1e6)
    return [statistics.median(one) for one in took]


def _settle(pids):
    """Until the server has cleaned up after the client and is idle."""
    last = -1.0
    while (now := cpu_seconds(pids)) != last:
        last = now
        time.sleep(0.005)
