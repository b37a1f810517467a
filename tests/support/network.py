# SPDX-License-Identifier: Apache-2.0
"""Where a process of a test runs: this machine's own network, or the hub's network of a lab of VMs."""

import socket

_holders = []  # open for as long as this process lives


class Network:
    """`prefix` is put before an argv to run it there; `address` is where its servers listen."""

    def __init__(self, address="127.0.0.1", prefix=()):
        self.address = address
        self.prefix = list(prefix)
        self._next_port = 22000

    def free_port(self):
        """A TCP port for one server of ours, which may come and go on it while this process lives.

        A bound socket that does not listen holds the port: the kernel gives it neither to a client that connects nor
        to whoever binds port 0, in any process, but lets a server with SO_REUSEADDR (all of ours have it) listen on
        it. In a lab's namespace only this harness opens ports, below what clients get: it counts up."""
        if self.prefix:
            self._next_port += 1
            return self._next_port
        holder = socket.socket()
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((self.address, 0))
        _holders.append(holder)
        return holder.getsockname()[1]
