# SPDX-License-Identifier: Apache-2.0
"""Teams on one shared VM: an account of its own for each test, so that tests on the same VM do not meet."""

import contextlib
import itertools
import sqlite3
import subprocess
import tempfile
from pathlib import Path

from scene import Scene
from support import ssh
from support.broker import Broker
from support.lab import LabVm
from support.wait import wait_for

_numbers = itertools.count(1)


class Team:
    """A fresh account on the scene's VM, and people whom policy lets in there."""

    def __init__(self, scene, size=1):
        self.scene = scene
        self.vm = scene.vm
        self.number = next(_numbers)
        self.account = f"team{self.number}"
        self.login = self.vm.login(self.account)
        scene.broker.as_admin("group", "add", self.account)
        scene.broker.as_admin("grant", "add", "--group", self.account, "--vm", "*", "--login", self.login, "--allow",
                              "pty,port-forwarding")
        wait_for(lambda: self.login in self.vm.agent_status().get("managed_logins", []), 30,
                 lambda: f"the VM to manage {self.login}: {self.vm.agent_status()}")
        self.people = [scene.broker.enrol(f"p{self.number}-{at}", self.account) for at in range(size)]

    @property
    def uid(self):
        return self.vm.run("id", "-u", self.login).stdout.strip()

    def session(self, person, *command, **how):
        return self.vm.open_session(self.account, person.key, *command, **how)

    def shell(self, person, **how):
        return self.vm.open_shell(self.account, person.key, **how)

    def run(self, person, *command, **how):
        return self.vm.ssh(self.account, person.key, *command, **how)

    def client(self, program, person, *words):
        """scp, sftp or rsync as this person; `words` may hold {host}."""
        options = ["-F", "/dev/null", "-i", str(person.key.path)]
        for setting in ("IdentitiesOnly=yes", "IdentityAgent=none", "StrictHostKeyChecking=no", "LogLevel=ERROR",
                        "UserKnownHostsFile=/dev/null", "BatchMode=yes", "ConnectTimeout=15"):
            options += ["-o", setting]
        if program == "rsync":
            options = ["-e", " ".join(["ssh", *options])]
        host = f"{self.login}@{self.vm.address}"
        return ssh.Session([*self.vm.network.prefix, program, *options, *(str(word).format(host=host) for word in words)])

    def revoke(self, person):
        """Returns the VM's receipt."""
        done = self.scene.admin_json("revoke", "user", person.name, "--reason", "stolen", "--wait", "30s")
        return self.scene.admin_json("revoke", "show", str(done["epoch"]))["receipts"][0]

    def rows(self, person):
        return [row for row in self.scene.admin_json("sessions", "ls")["sessions"] if row["user"] == person.name]

    def await_rows(self, person, count, seconds=30):
        wait_for(lambda: len(self.rows(person)) == count, seconds,
                 lambda: f"{count} sessions of {person.name}: {self.rows(person)}", every=0.2)

    def runs(self, command):
        return self.vm.run("pgrep", "-u", self.login, "-fx", command, check=False).returncode == 0

    def await_running(self, command):
        wait_for(lambda: self.runs(command), 20, f"{command!r} to run as {self.login}")


def lab_scene(place, lab, build, name, **broker_settings):
    """A scene on a systemd VM, for a fixture that several tests share; end it with end_scene()."""
    broker = Broker(place, build, lab.network, name=f"broker-{name}", **broker_settings).init().start()
    try:
        return Scene(broker, LabVm(place, lab, build, name=name).start())
    except Exception:
        broker.stop()
        raise


def end_scene(scene):
    scene.broker.stop()
    scene.vm.remove()


def short_folder():
    """For sockets, whose paths must be short."""
    return Path(tempfile.mkdtemp(prefix="lk-", dir="/tmp"))


def sparse_file(vm, login, name, size="2G"):
    vm.run("runuser", "-u", login, "--", "truncate", "-s", size, f"/home/{login}/{name}")


def answers(network, *words):
    return subprocess.run([*network.prefix, *words], capture_output=True, text=True, check=False, timeout=30,
                          stdin=subprocess.DEVNULL).stdout


def committed_at(scene, epoch):
    """When the broker made a revocation's row, just before its commit, in seconds of this machine's clock."""
    with contextlib.closing(sqlite3.connect(f"file:{scene.broker.database()}?mode=ro", uri=True)) as ledger:
        return ledger.execute("SELECT made_at FROM revocations WHERE epoch = ?", (epoch,)).fetchone()[0] / 1e6


def figures(seconds):
    ordered = sorted(seconds)
    if not ordered:
        return "none"
    at = {share: ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.99)}
    return f"p50 {at[0.5] * 1000:.0f} ms, p99 {at[0.99] * 1000:.0f} ms, longest {ordered[-1] * 1000:.0f} ms"
