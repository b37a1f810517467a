# SPDX-License-Identifier: Apache-2.0
"""A real broker whose ledger is filled before it starts, in a place of its own, from the end-to-end harness."""

import base64
import contextlib
import re
import secrets
import subprocess

from support.broker import Broker
from support.build import Build
from support.local_vm import LocalVm
from support.network import Network
from support.place import Place

from .programs import BENCH, BUILD

TOKEN = re.compile(r"lk1\.\S+")


class Stand:
    """`login` is the Unix account, here, that the seeded people may use on every VM."""

    def __init__(self):
        self.place = Place()
        self.build = Build(BUILD).install(self.place.folder("programs"))
        self.seed_program = self.place.folder("bench") / "seed_ledger"
        self.seed_program.write_bytes((BENCH / "seed_ledger").read_bytes())
        self.seed_program.chmod(0o755)
        self.login = self.place.account("bench")
        # Without PAM, sshd takes the "!" of a new account for locked.
        subprocess.run(["usermod", "-p", "*", self.login], check=True, stdin=subprocess.DEVNULL)
        self.broker = Broker(self.place, self.build, Network())
        self.vm = None

    def start_broker(self, public_keys):
        """Each key's owner has a live unlock when the broker starts. Returns their fingerprints."""
        self.broker.init()
        user = self.place.account("broker")
        done = subprocess.run([self.seed_program, self.broker.config, self.login], cwd="/", user=user, group=user,
                              extra_groups=[], input="\n".join(public_keys) + "\n", capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            raise RuntimeError(f"seed_ledger: {done.stderr.strip()}")
        self.broker.start()
        return done.stdout.split()

    def token(self, uses=1):
        return TOKEN.search(self.broker.as_admin("vm", "token", "--uses", str(uses)))[0]

    def start_vm(self):
        """An agent that has joined, and a folder for sshds that ask it. Its own sshd stays idle."""
        self.vm = LocalVm(self.place, self.build, name="vm-bench").start()
        self.vm.join(self.token())
        return self.vm

    def certificates(self):
        """How many the ledger holds."""
        done = subprocess.run(["sqlite3", "-readonly", self.broker.database(), "select count(*) from certificates"],
                              capture_output=True, text=True, check=True)
        return int(done.stdout)

    def close(self):
        if self.vm:
            self.vm.remove()
        self.broker.stop()
        self.place.remove()


@contextlib.contextmanager
def new_stand():
    stand = Stand()
    try:
        yield stand
    finally:
        stand.close()


def made_up_keys(count):
    """Public keys that nobody holds: a certificate over one costs what any other costs."""
    head = b"\0\0\0\x0bssh-ed25519\0\0\0 "
    return [f"ssh-ed25519 {base64.b64encode(head + secrets.token_bytes(32)).decode()}" for _ in range(count)]
