# SPDX-License-Identifier: Apache-2.0
"""org.latchkey.Agent1 in a real VM: what everybody sees, what root and the group may do, what a listener hears, and
a bus that goes away."""

import os
import select
import subprocess
import time

import pytest

from scene import Scene, assert_in
from support.broker import Broker
from support.lab import LabVm
from support.wait import wait_for

NAME = "org.latchkey.Agent1"
OBJECT = "/org/latchkey/Agent1"
PATIENCE = 30.0


class Listener:
    """dbus-monitor in the VM, as root; it listens once the constructor returns. Every wait has its deadline."""

    def __init__(self, vm, *rules):
        self.heard = ""
        self.process = subprocess.Popen(vm.argv("dbus-monitor", "--system", *rules), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        # A connection that becomes a monitor gives up its name, and that is the first that it prints.
        self.expect("member=NameLost")

    def expect(self, text, seconds=PATIENCE):
        deadline = time.monotonic() + seconds
        while text not in self.heard:
            left = deadline - time.monotonic()
            readable, _, _ = select.select([self.process.stdout], [], [], max(0, left))
            part = os.read(self.process.stdout.fileno(), 65536) if readable else b""
            if not part:
                raise TimeoutError(f"no {text!r} heard, but: {self.heard[-3000:]}")
            self.heard += part.decode(errors="replace")
        return self.heard

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def scene(run_place, build, lab):
    """One VM and one broker for all tests here; carol is in group latchkey-admin, mallory in none."""
    broker = Broker(run_place, build, lab.network, name="broker-dbus").init().start()
    vm = LabVm(run_place, lab, build, name="bus-1").start()
    try:
        scene = Scene(broker, vm)
        vm.run("useradd", "--groups", "latchkey-admin", "carol")
        vm.run("useradd", "mallory")
        yield scene
    finally:
        broker.stop()
        vm.remove()


def busctl(vm, *words, user="root", check=True):
    return vm.run("runuser", "-u", user, "--", "busctl", "--timeout=20", *words, check=check)


def call(vm, method, *words, user="root", check=True):
    return busctl(vm, "call", NAME, OBJECT, NAME, method, *words, user=user, check=check)


def read(vm, name, user="root"):
    return busctl(vm, "get-property", NAME, OBJECT, NAME, name, user=user).stdout.split()[1]


def resync(vm, user):
    """Asked again while an earlier one is less than 5 s ago, or not yet done."""
    def asked():
        done = call(vm, "Resync", user=user, check=False)
        assert done.returncode == 0 or "5 s ago" in done.stderr or "no broker" in done.stderr, done.stderr
        return done.returncode == 0

    wait_for(asked, PATIENCE, f"a resync for {user}", every=0.5)


def full_sets(vm):
    return vm.agent_log().count("replace revocations")


def test_introspection_shows_all_of_it(scene):
    """Names, signatures and what is told of changes, as docs/dbus.md says."""
    shown = {words[0]: words[1:] for words in
             (line.split() for line in busctl(scene.vm, "introspect", NAME, OBJECT, user="mallory").stdout.splitlines())}
    assert shown[".ListSessions"][:3] == ["method", "-", "a(tssststu)"]
    assert shown[".Resync"][:3] == ["method", "-", "-"]
    assert shown[".Explain"][:3] == ["method", "ss", "as"]
    assert shown[".Revoked"][:2] == ["signal", "tsu"]
    assert shown[".TrustChanged"][:2] == ["signal", "-"]
    for name, kind, flag in ((".Connected", "b", "emits-change"), (".Epoch", "t", "emits-change"),
                             (".LastHeartbeat", "t", "-"), (".ClockOffset", "x", "-"), (".Version", "s", "const")):
        assert shown[name][:2] == ["property", kind]
        assert shown[name][-1] == flag, shown[name]


def test_properties_follow_the_broker(scene):
    """Connected falls when the broker goes and rises when it is back, and whoever listens is told."""
    wait_for(lambda: read(scene.vm, "Connected", "mallory") == "true", PATIENCE, "the broker to be connected")
    assert int(read(scene.vm, "LastHeartbeat")) > 1_700_000_000_000_000
    assert abs(int(read(scene.vm, "ClockOffset"))) < 5_000_000
    changes = f"type='signal',sender='{NAME}',interface='org.freedesktop.DBus.Properties'"
    with Listener(scene.vm, changes) as listener:
        scene.broker.stop()
        listener.expect("boolean false")
        assert read(scene.vm, "Connected") == "false"
        scene.broker.start()
        listener.expect("boolean true")
    assert read(scene.vm, "Connected") == "true"
    scene.vm.await_serving()


def test_resync_is_for_root_and_the_group(scene):
    """Everything in force comes anew for root and for a member of the group; a common user is refused."""
    for user in ("root", "carol"):
        before = full_sets(scene.vm)
        resync(scene.vm, user)
        wait_for(lambda: full_sets(scene.vm) > before, PATIENCE, "the broker's full set")  # noqa: B023
    before = full_sets(scene.vm)
    refused = call(scene.vm, "Resync", user="mallory", check=False)
    assert refused.returncode != 0 and "denied" in refused.stderr.lower(), refused.stderr
    scene.vm.await_serving()
    assert full_sets(scene.vm) == before


def test_people_are_named_to_root_and_the_group_only(scene):
    """ListSessions and Explain name people; what a common user may read names nobody."""
    bob = scene.person("bob")
    with scene.session(bob):
        rows = call(scene.vm, "ListSessions", user="carol").stdout
        assert ' "bob" "alice" "SHA256:' in rows, rows
        assert rows.startswith("a(tssststu) 1 "), rows
        for words in (("ListSessions",), ("Explain", "ss", "alice", bob.key.fingerprint)):
            refused = call(scene.vm, *words, user="mallory", check=False)
            assert refused.returncode != 0 and "denied" in refused.stderr.lower(), refused.stderr
        assert read(scene.vm, "Epoch", user="mallory").isdigit()


def test_explains_as_the_command_does(scene):
    """The same lines from the bus and from `latchkey-agent explain`; the verdict is what then happens."""
    eve = scene.person("eve")
    assert_in(scene.plain(eve), scene.login)
    shown = scene.vm.run(scene.vm.agent_program, "explain", "alice", eve.key.fingerprint).stdout.splitlines()
    assert shown[-1] == "allowed: granted to eve"
    assert any(line.startswith("grant: held for eve, certificate ") for line in shown)
    over_bus = call(scene.vm, "Explain", "ss", "alice", eve.key.fingerprint).stdout
    assert '"allowed: granted to eve"' in over_bus
    assert over_bus.startswith(f"as {len(shown)} ")
    stranger = call(scene.vm, "Explain", "ss", "alice", scene.broker.admin.key.fingerprint).stdout
    assert "allowed" not in stranger and '"open: no grant held' in stranger


def test_a_listener_hears_of_a_revocation(scene):
    """Revoked tells epoch, kind and how many sessions ended, and names nobody."""
    dave = scene.person("dave")
    with scene.session(dave) as session, Listener(scene.vm, f"type='signal',interface='{NAME}'") as listener:
        scene.broker.as_admin("revoke", "user", "dave", "--reason", "laptop stolen")
        listener.expect("member=Revoked")
        listener.expect("uint32 1")
        session.wait(PATIENCE)
    told = listener.heard[listener.heard.index("member=Revoked"):]
    assert 'string "user"' in told
    assert f"uint64 {read(scene.vm, 'Epoch')}" in told
    assert "dave" not in told


def test_outlives_the_bus(scene):
    """The bus dies and comes back: logins go on meanwhile, and the name is there again."""
    frank = scene.person("frank")
    scene.vm.run("systemctl", "kill", "--signal=KILL", "dbus.service")
    assert_in(scene.plain(frank), scene.login)
    wait_for(lambda: call(scene.vm, "ListSessions", check=False).returncode == 0, PATIENCE, "the name on the new bus")
    assert "lose system bus" in scene.vm.agent_log()
    wait_for(lambda: not scene.vm.agent_status()["trouble"], PATIENCE,
             lambda: f"the trouble to end: {scene.vm.agent_status()}")
    resync(scene.vm, "root")
    scene.vm.await_serving()
