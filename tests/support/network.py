# SPDX-License-Identifier: Apache-2.0
"""Where a process of a test runs: this machine's own network, or the hub's network of a lab of VMs."""

import socket


class Network:
    """`prefix` is put before an argv to run it there; `address` is where its servers listen."""

    def __init__(self, address="127.0.0.1", prefix=()):
        self.address = address
        self.prefix = list(prefix)
        self._next_port = 22000

    def free_port(self):
        """A TCP port that nobody listens on. In a lab's namespace only this harness opens ports: count up."""
        if self.prefix:
            self._next_port += 1
            return self._next_port
        with socket.socket() as probe:
            probe.bind((self.address, 0))
            return probe.getsockname()[1]
