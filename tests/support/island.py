# SPDX-License-Identifier: Apache-2.0
"""A network namespace beside this machine, whose way to one address can be cut while all else goes on."""

import os
import subprocess

from .network import Network


class Island(Network):
    """Servers in it listen on `address`; this machine reaches them there, and is itself `shore` (to be cut off) for
    them. close() takes it away."""

    def __init__(self):
        number = os.getpid() % 250
        self.name = f"lk-island-{os.getpid()}"
        self.device = f"lki{os.getpid() % 10**7}"
        self.gate, self.shore = f"10.177.{number}.1", f"10.178.{number}.1"
        super().__init__(f"10.177.{number}.2", ["ip", "netns", "exec", self.name])
        try:
            _ip("netns", "add", self.name)
            _ip("link", "add", self.device, "type", "veth", "peer", "name", "eth0", "netns", self.name)
            _ip("addr", "add", f"{self.gate}/24", "dev", self.device)
            _ip("addr", "add", f"{self.shore}/32", "dev", self.device)
            _ip("link", "set", self.device, "up")
            self._inside("addr", "add", f"{self.address}/24", "dev", "eth0")
            self._inside("link", "set", "lo", "up")
            self._inside("link", "set", "eth0", "up")
            self.mend()
        except Exception:
            self.close()
            raise

    def cut(self):
        """From now on nothing from inside reaches `shore`; nobody is told."""
        self._inside("route", "del", self.shore)
        self._inside("route", "add", "blackhole", self.shore)

    def mend(self):
        self._inside("route", "flush", self.shore, check=False)
        self._inside("route", "add", self.shore, "via", self.gate)

    def close(self):
        _ip("netns", "del", self.name, check=False)  # its devices go with it
        _ip("link", "del", self.device, check=False)

    def _inside(self, *words, check=True):
        _ip("-n", self.name, *words, check=check)


def _ip(*words, check=True):
    subprocess.run(["ip", *words], check=check, capture_output=True, text=True, timeout=20)
