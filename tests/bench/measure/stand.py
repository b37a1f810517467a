# SPDX-License-Identifier: Apache-2.0
"""A real broker whose ledger is filled before it starts, in a place of its own, from the end-to-end harness."""

import base64
import contextlib
import re
import secrets
import shutil
import subprocess

from support.broker import Broker
from support.build import Build
from support.local_vm import LocalVm
from support.network import Network
from support.place import Place
from support.wait import wait_for

from .programs import BENCH, BUILD

TOKEN = re.compile(r"lk1\.\S+")


class Stand:
    """`login` is the Unix account, here, that the seeded people may use on every VM. `hub`, `store`: settings of the broker's."""

    def __init__(self, hub=None, store=None, place=None):
        self.place = place or Place()
        self.build = Build(BUILD).install(self.place.folder("programs"))
        self.seeders = self.place.folder("bench")
        for name in ("seed_ledger", "seed_fleet"):
            shutil.copy2(BENCH / name, self.seeders)
        self.login = self.place.account("bench")
        # Without PAM, sshd takes the "!" of a new account for locked.
        subprocess.run(["usermod", "-p", "*", self.login], check=True, stdin=subprocess.DEVNULL)
        self.broker = Broker(self.place, self.build, Network(), hub=hub, store=store)
        self.vm = None
        self.burdened = None

    def start_broker(self, public_keys):
        """Each key's owner has a live unlock when the broker starts. Returns their fingerprints."""
        fingerprints = self.prepare(public_keys)
        self.start()
        return fingerprints

    def prepare(self, public_keys):
        """The same, up to the start."""
        self.broker.init()
        lines = "\n".join(public_keys) + "\n"
        return self.as_broker("seed_ledger", self.broker.config, self.login, stdin=lines).split()

    def as_broker(self, program, *words, stdin=""):
        """A seeding program, run as the broker's own user; its output."""
        user = self.place.account("broker")
        done = subprocess.run([self.seeders / program, *(str(word) for word in words)], cwd="/", user=user, group=user,
                              extra_groups=[], input=stdin, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{program}: {done.stderr.strip()}")
        return done.stdout

    def start(self):
        self.broker.start()

    def token(self, uses=1):
        return TOKEN.search(self.broker.as_admin("vm", "token", "--uses", str(uses)))[0]

    def start_vm(self):
        """An agent that has joined, and a folder for sshds that ask it. Its own sshd stays idle."""
        self.vm = LocalVm(self.place, self.build, name="vm-bench").start()
        self.vm.join(self.token())
        return self.vm

    def start_burdened_vm(self, count):
        """One more agent, which has heard of `count` revocations; the broker's epoch is as high, its own have all ended."""
        vm = LocalVm(self.place, self.build, name="vm-burdened").start()
        self.burdened = vm
        vm.join(self.token())
        vm.stop_agent()
        self.broker.stop()
        user = self.place.account("broker")
        subprocess.run(["sqlite3", self.broker.database(), f"update counters set value = {count} where name = 'epoch'"],
                       check=True, user=user, group=user, extra_groups=[], stdin=subprocess.DEVNULL)
        subprocess.run([BENCH / "seed_revocations", vm.state, str(count)], check=True, stdin=subprocess.DEVNULL)
        self.start()
        vm.start_agent()
        for one in (self.vm, vm):  # one that has lost its broker serves too, by what it holds
            wait_for(lambda: one.agent_status().get("connected") and one.agent_status().get("serving"), 60,
                     lambda: f"{one.name} to be back: {one.agent_log()[-2000:]}")
        return vm

    def certificates(self):
        """How many the ledger holds."""
        done = subprocess.run(["sqlite3", "-readonly", self.broker.database(), "select count(*) from certificates"],
                              capture_output=True, text=True, check=True)
        return int(done.stdout)

    def close(self):
        for vm in (self.vm, self.burdened):
            if vm:
                vm.remove()
        self.broker.stop()
        self.place.remove()


@contextlib.contextmanager
def new_stand(hub=None, store=None, place=None):
    stand = Stand(hub, store, place)
    try:
        yield stand
    finally:
        stand.close()


def made_up_keys(count):
    """Public keys that nobody holds: a certificate over one costs what any other costs."""
    head = b"\0\0\0\x0bssh-ed25519\0\0\0 "
    return [f"ssh-ed25519 {base64.b64encode(head + secrets.token_bytes(32)).decode()}" for _ in range(count)]
