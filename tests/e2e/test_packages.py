# SPDX-License-Identifier: Apache-2.0
"""The Debian packages in a VM: installed, upgraded, removed and purged with logins going on; and what systemd
says about their units. After each step logins behave as docs/install.md says."""

import os
import re
import subprocess

import pytest
from scene import Scene, assert_in, assert_out
from support.broker import SECRET, Broker, Person
from support.build import DEBIAN_RELEASES, REPOSITORY, SUITE
from support.keys import KeyPair
from support.totp import Totp
from support.wait import wait_for

RELEASE = DEBIAN_RELEASES[SUITE]
OLDER = f"0.0.1-1~deb{RELEASE}"
AGENT = "latchkey-agent"
# What a purge leaves: the system's own accounts keep their names (Debian's habit), and the journal its lines.
SURE_TO_STAY = re.compile(r"^/(proc|sys|dev|run/(log|user|dbus)|tmp|var/log|var/lib/(dpkg|systemd)|var/backups)(/|$)")


@pytest.fixture(scope="session")
def debs(run_place, build):
    """Package name -> .deb. Without LATCHKEY_PACKAGES they are made from the build under test."""
    folder = build.packages
    if folder is None:
        folder = run_place.folder("packages")
        subprocess.run([REPOSITORY / "packaging/build", folder], check=True, stdin=subprocess.DEVNULL,
                       env={**os.environ, "LATCHKEY_BUILD": str(build.folder)})
    found = {path.name.split("_")[0]: path for path in folder.glob(f"*~deb{RELEASE}_*.deb")}
    wanted = {AGENT, "latchkey"} | ({"latchkey-broker"} if SUITE == "bookworm" else set())
    assert set(found) >= wanted, f"in {folder}: {sorted(found)}"
    return found


@pytest.fixture
def older_agent(debs, tmp_path):
    """The agent's package with an older version, else the same."""
    tree, deb = tmp_path / "tree", tmp_path / "older.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", debs[AGENT], tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"^Version: .*$", f"Version: {OLDER}", control.read_text(), flags=re.M))
    subprocess.run(["dpkg-deb", "-Znone", "--root-owner-group", "--build", tree, deb], check=True, stdout=subprocess.DEVNULL)
    return deb


class Machine:
    """A VM as an administrator has it: packages come and go by dpkg, and sshd's configuration stays sound."""

    def __init__(self, vm):
        self.vm = vm

    def install(self, *paths):
        for path in paths:
            self.vm.lab.vmlab("push", self.vm.number, path, f"/tmp/{path.name}")
        return self._dpkg("--install", *(f"/tmp/{path.name}" for path in paths))

    def remove(self, name):
        return self._dpkg("--remove", name)

    def purge(self, name):
        return self._dpkg("--purge", name)

    def _dpkg(self, *words):
        done = subprocess.run(self.vm.argv("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", *words), capture_output=True,
                              text=True, check=False, stdin=subprocess.DEVNULL, timeout=240)
        assert done.returncode == 0, done.stdout + done.stderr
        assert self.vm.run("sshd", "-t", check=False).returncode == 0, f"after dpkg {words[0]}"
        assert not self.vm.run("systemctl", "--failed", "--no-legend", "--plain").stdout.strip(), f"after dpkg {words[0]}"
        return done.stdout + done.stderr

    def says(self, *words):
        return self.vm.run(*words, check=False).stdout.strip()

    def is_active(self, unit):
        return self.says("systemctl", "is-active", unit) == "active"

    def version(self, name):
        return self.says("dpkg-query", "-W", "-f", "${Version}", name)

    def files_of_ours(self):
        found = self.says("find", "/", "-xdev", "-iname", "*latchkey*").split("\n")
        return [path for path in found if path and not SURE_TO_STAY.match(path)]

    def gates_logins(self):
        lines = self.says("cat", "/etc/pam.d/sshd")
        helper = self.says("sshd", "-T")
        return "pam_latchkey" in lines, "latchkey-authorized-keys" in helper

    def gives_up_after(self, unit):
        """The span in which too many starts are the last; "0": never."""
        return self.says("systemctl", "show", "-p", "StartLimitIntervalUSec", "--value", unit)

    def exposure(self, unit):
        text = self.says("env", "SYSTEMD_COLORS=0", "systemd-analyze", "security", "--no-pager", unit)
        return float(re.search(r"exposure level for \S+: ([\d.]+)", text)[1])


@pytest.fixture
def machine(new_vm):
    return Machine(new_vm(agent=False))


def hears(session, word):
    """The session still carries what is typed."""
    session.send(f"{word}\n")
    session.expect(f"<{word}>")
    return True


def open_echo(vm, account, key):
    """A session that answers each line."""
    session = vm.open_session(account, key, 'echo begun; while read -r word; do echo "<$word>"; done')
    session.expect("begun")
    return session


@pytest.mark.every_suite
@pytest.mark.lab_only
def test_before_joining_every_login_stays_as_it_was(machine, debs, new_key):
    vm, own, stranger = machine.vm, new_key("own"), new_key("stranger")
    vm.authorized_keys("carol", own)
    before = machine.says("sshd", "-T")

    machine.install(debs[AGENT])
    assert_in(vm.ssh("carol", own, "id -un"), "carol")
    assert_out(vm.ssh("carol", stranger, "id -un"))
    assert not machine.is_active("latchkey-agent")
    assert machine.says("systemctl", "is-enabled", "latchkey-agent") == "enabled"
    assert machine.says("grep", "-v", "^#", "/var/lib/latchkey-agent/managed-logins") == ""
    changed = set(machine.says("sshd", "-T").split("\n")) ^ set(before.split("\n"))
    assert {line.split()[0] for line in changed} == {"authorizedkeyscommand", "authorizedkeyscommanduser"}

    machine.purge(AGENT)
    assert set(machine.says("sshd", "-T").split("\n")) == set(before.split("\n"))
    assert_in(vm.ssh("carol", own, "id -un"), "carol")


@pytest.mark.every_suite
@pytest.mark.lab_only
def test_an_upgrade_drops_nobody_and_removal_gives_logins_back(machine, debs, older_agent, broker, new_key):
    vm, own = machine.vm, new_key("own")
    vm.authorized_keys("carol", own)
    vm.authorized_keys("alice", own)
    machine.install(older_agent)
    scene = Scene(broker, vm)
    bob, eve = scene.person("bob"), scene.person("eve")
    assert_in(scene.plain(bob), "alice")
    assert_out(vm.ssh("alice", own, "id -un"))
    assert_in(vm.ssh("carol", own, "id -un"), "carol")

    with open_echo(vm, "alice", bob.key) as bobs, open_echo(vm, "alice", eve.key) as eves, \
            open_echo(vm, "carol", own) as carols:
        before = machine.says("systemctl", "show", "-p", "MainPID", "--value", "latchkey-agent")
        sshd_read_at = machine.says("stat", "-c", "%y", "/run/sshd.pid")
        machine.install(debs[AGENT])
        assert machine.says("stat", "-c", "%y", "/run/sshd.pid") == sshd_read_at, "reloaded for nothing"
        assert machine.version(AGENT) != OLDER
        for folder, mode in (("/var/lib/latchkey-agent", "755"), ("/var/lib/latchkey-agent/identity", "600")):
            assert machine.says("stat", "-c", "%a", folder) == mode
        assert machine.says("systemctl", "show", "-p", "MainPID", "--value", "latchkey-agent") not in (before, "0")
        assert all(hears(session, "upgraded") for session in (bobs, eves, carols))
        vm.await_serving()
        assert_in(scene.plain(bob), "alice")

        broker.as_admin("revoke", "user", "eve", "--reason", "laptop stolen", "--wait", "20s")
        assert eves.wait(20).code != 0
        assert hears(bobs, "there") and hears(carols, "there")
        assert_out(scene.plain(eve))

        vm.run("sh", "-c", "cat - /etc/pam.d/sudo >/etc/pam.d/sudo.new && mv /etc/pam.d/sudo.new /etc/pam.d/sudo",
               stdin=(REPOSITORY / "packaging/pam/sudo").read_text(encoding="utf-8"))
        assert "/etc/pam.d/sudo," in machine.remove(AGENT)
        assert machine.says("sudo", "-n", "id", "-un") == "root", "a line without its module locks everybody out"
        assert machine.says("grep", "-rlE", "^[^#]*pam_latchkey", "/etc/pam.d") == ""
        assert machine.gates_logins() == (False, False)
        assert all(hears(session, "removed") for session in (bobs, carols))
        assert_out(scene.plain(bob))
        assert_in(vm.ssh("alice", own, "id -un"), "alice")
        assert_in(vm.ssh("carol", own, "id -un"), "carol")
        assert machine.says("cat", "/etc/latchkey/agent.toml"), "configuration stays until purged"

        machine.install(debs[AGENT])
        vm.await_serving()
        assert_in(scene.plain(bob), "alice")
        assert_out(scene.plain(eve))
        assert_out(vm.ssh("alice", own, "id -un"))

        machine.purge(AGENT)
        assert machine.files_of_ours() == []
        assert machine.gates_logins() == (False, False)
        assert all(hears(session, "purged") for session in (bobs, carols))
        assert_in(vm.ssh("alice", own, "id -un"), "alice")


@pytest.mark.lab_only
def test_a_command_that_sshd_asks_already_is_left_in_its_place(machine, debs, new_key):
    vm, own = machine.vm, new_key("own")
    vm.login("carol")
    vm.run("sh", "-c", "cat >/usr/local/bin/keys && chmod 755 /usr/local/bin/keys", stdin=f"#!/bin/sh\necho '{own.public}'\n")
    vm.run("sh", "-c", "cat >/etc/ssh/sshd_config.d/00-earlier.conf && systemctl reload ssh",
           stdin="AuthorizedKeysCommand /usr/local/bin/keys\nAuthorizedKeysCommandUser nobody\n")
    assert_in(vm.ssh("carol", own, "id -un"), "carol")

    said = machine.install(debs[AGENT])
    assert "/usr/local/bin/keys" in said and "latchkey-agent doctor" in said
    assert machine.gates_logins() == (True, False)
    assert_in(vm.ssh("carol", own, "id -un"), "carol")
    machine.says("latchkey-agent", "doctor", "--fix")
    assert machine.gates_logins() == (True, True)
    assert_in(vm.ssh("carol", own, "id -un"), "carol")  # chained behind ours, with no agent that runs
    assert "in effect again" in machine.purge(AGENT)
    assert machine.gates_logins() == (False, False)
    assert_in(vm.ssh("carol", own, "id -un"), "carol")


@pytest.mark.lab_only
def test_a_pam_service_of_somebody_else_is_left_as_it_is(machine, debs, new_key):
    vm, own = machine.vm, new_key("own")
    vm.authorized_keys("carol", own)
    vm.run("sed", "-i", "s/^@include common-session$/session required pam_unix.so/", "/etc/pam.d/sshd")
    before = machine.says("cat", "/etc/pam.d/sshd")

    said = machine.install(debs[AGENT])
    assert "pam_latchkey(8)" in said
    assert machine.says("cat", "/etc/pam.d/sshd") == before
    assert_in(vm.ssh("carol", own, "id -un"), "carol")


# What docs/backup.md says to keep, and what docs/emergencies.md does with it.
KEEP = """set -e
install -d -m 700 -o latchkey -g latchkey /var/backups/latchkey
latchkeyd backup /var/backups/latchkey/LAST.db
mkdir /tmp/safe
cp /var/lib/latchkey/*.key /var/lib/latchkey/*_ed25519 /var/lib/latchkey-signer/ca_ed25519 /etc/latchkey/latchkeyd.toml /tmp/safe
mv /var/backups/latchkey/LAST.db /tmp/safe
rmdir /var/backups/latchkey"""
BRING_BACK = """set -e
cd /tmp/safe
install -m 0644 latchkeyd.toml /etc/latchkey/
install -d -m 0700 -o latchkey -g latchkey /var/lib/latchkey /var/backups/latchkey
install -d -m 0700 -o latchkey-signer -g latchkey-signer /var/lib/latchkey-signer
install -m 0600 -o latchkey -g latchkey data.key broker_ed25519 ledger_ed25519 /var/lib/latchkey/
install -m 0600 -o latchkey-signer -g latchkey-signer ca_ed25519 /var/lib/latchkey-signer/
install -m 0600 -o latchkey -g latchkey LAST.db /var/backups/latchkey/
latchkeyd restore /var/backups/latchkey/LAST.db --revoke-all"""


class InstalledBroker(Broker):
    """The broker of the package, in a VM: its units, its folders, its accounts."""

    def __init__(self, place, machine):
        self.machine = machine
        self.folder = place.folder("installed-broker")
        self.network = machine.vm.network
        self.address = machine.vm.address
        self.door_port, self.hub_port = 2222, 7443
        self.admin = None

    def init(self, admin="admin"):
        vm, key = self.machine.vm, KeyPair.generate(self.folder, "key-admin")
        vm.run("sed", "-i", f"s/\"broker:/\"{self.address}:/", "/etc/latchkey/latchkeyd.toml")
        vm.run("sh", "-c", "cat >/root/admin.pub", stdin=key.public + "\n")
        done = vm.run("latchkeyd", "init", "--admin", admin, "--admin-key", "/root/admin.pub", check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        self.admin = Person(admin, key, Totp(SECRET.search(done.stdout + done.stderr)[1]))
        return self

    def start(self):
        done = self.machine.vm.run("systemctl", "start", "latchkeyd", check=False)
        assert done.returncode == 0, self.log_text()
        return self

    def log_text(self):
        return self.machine.says("journalctl", "--no-pager", "-u", "latchkeyd", "-u", "latchkey-signer")


@pytest.mark.lab_only
def test_the_installed_broker_serves_under_its_sandbox_until_it_is_purged(machine, debs, new_vm, place, new_key):
    vm = machine.vm
    own = new_key("own")
    vm.authorized_keys("carol", own)
    machine.install(debs["latchkey-broker"])
    assert not machine.is_active("latchkeyd") and not machine.is_active("latchkey-signer")
    broker = InstalledBroker(place, machine).init().start()
    assert machine.is_active("latchkey-signer")
    owners = {"latchkeyd": "latchkey", "latchkey-signer": "latchkey-signer"}
    for unit, owner in owners.items():
        pid = machine.says("systemctl", "show", "-p", "MainPID", "--value", unit)
        assert machine.says("ps", "-o", "user:32=", "-p", pid) == owner
        assert machine.exposure(f"{unit}.service") <= 2.0
        assert machine.gives_up_after(unit) == "0"
    assert machine.says("stat", "-c", "%U %a", "/var/lib/latchkey-signer/ca_ed25519") == "latchkey-signer 600"

    web = new_vm(name="web-1")
    scene = Scene(broker, web)
    bob = scene.person("bob")
    assert_in(scene.plain(bob), "alice")
    broker.as_admin("ca", "krl", "--json")
    machine.vm.run("systemctl", "restart", "latchkeyd")
    assert_in(scene.plain(scene.person("eve")), "alice")
    vm.run("sh", "-c", KEEP)

    machine.remove("latchkey-broker")
    assert machine.says("ls", "/var/lib/latchkey"), "the database stays until purged"
    machine.purge("latchkey-broker")
    assert machine.files_of_ours() == []
    assert_in(vm.ssh("carol", own, "id -un"), "carol")

    # The machine was lost: docs/emergencies.md.
    machine.install(debs["latchkey-broker"])
    vm.run("sh", "-c", BRING_BACK)
    broker.start()
    wait_for(lambda: web.agent_status().get("connected"), 60, lambda: f"the VM to be back: {web.agent_status()}")
    assert_out(scene.plain(bob))
    scene.unlock(bob)
    assert_in(scene.plain(bob), "alice")


@pytest.mark.every_suite
@pytest.mark.lab_only
def test_the_agents_units_are_hardly_exposed(machine, debs):
    machine.install(debs[AGENT])
    for unit in ("latchkey-agent", "latchkey-agent-join"):
        assert machine.exposure(f"{unit}.service") <= 2.0


@pytest.mark.every_suite
@pytest.mark.lab_only
def test_an_agent_that_fails_is_started_again_for_ever_but_not_with_a_wrong_configuration(machine, debs):
    machine.install(debs[AGENT])
    assert machine.gives_up_after("latchkey-agent") == "0"
    machine.vm.run("sh", "-c", "echo nonsense >/etc/latchkey/agent.toml; touch /var/lib/latchkey-agent/broker")
    assert machine.vm.run("systemctl", "start", "latchkey-agent", check=False).returncode != 0
    assert machine.says("systemctl", "is-failed", "latchkey-agent") == "failed"
    assert machine.says("systemctl", "show", "-p", "NRestarts", "--value", "latchkey-agent") == "0"
