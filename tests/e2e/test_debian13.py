# SPDX-License-Identifier: Apache-2.0
"""What the agent takes for granted of sshd, PAM and logind, proved on each Debian release; and what Debian 13 added:
sshd in three programs, and a way in by a local socket that knows no address."""

import subprocess

import pytest
from scene import Scene, assert_in, assert_out
from support.wait import wait_for

pytestmark = [pytest.mark.every_suite, pytest.mark.lab_only]


@pytest.fixture
def scene(broker, new_vm):
    return Scene(broker, new_vm(name="vm-one"))


def put(vm, path, text, mode):
    vm.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"', "put", path, mode, stdin=text)


def property_of(vm, session, name):
    return vm.run("loginctl", "show-session", session, "--property", name, "--value").stdout.strip()


def test_one_process_asks_for_keys_runs_pam_and_leads_the_session(scene):
    """Helper's parent == PAM's process == logind's leader: by it the agent binds a session to what it decided."""
    vm, ann = scene.vm, scene.person("ann")
    vm.run("install", "-d", "-m", "777", "/run/probe")
    helper = "/usr/libexec/latchkey/latchkey-authorized-keys"
    # $PPID of a script that sshd, or PAM in sshd, starts is sshd's process.
    put(vm, "/usr/libexec/latchkey/probe-helper", f'#!/bin/sh\necho $PPID >>/run/probe/helper\nexec {helper} "$@"\n', "755")
    put(vm, "/usr/libexec/latchkey/probe-pam", '#!/bin/sh\necho $PAM_TYPE $PPID >>/run/probe/pam\n', "755")
    vm.run("sed", "-i", f"s|{helper}|/usr/libexec/latchkey/probe-helper|",
           vm.run("readlink", "-f", "/etc/ssh/sshd_config.d/00-latchkey.conf").stdout.strip())
    pam = vm.run("cat", "/etc/pam.d/sshd").stdout
    for kind in ("account", "session"):
        pam += f"{kind} optional pam_exec.so seteuid /usr/libexec/latchkey/probe-pam\n"
    put(vm, "/etc/pam.d/sshd", pam, "644")
    vm.run("systemctl", "reload", "ssh")

    with scene.session(ann):
        ids = [line.split()[0] for line in vm.run("loginctl", "list-sessions", "--no-legend").stdout.splitlines()]
        session = next(name for name in ids if property_of(vm, name, "Service") == "sshd")
        leader = property_of(vm, session, "Leader")
        assert set(vm.run("cat", "/run/probe/helper").stdout.split()) == {leader}
        lines = vm.run("cat", "/run/probe/pam").stdout.splitlines()
        assert f"account {leader}" in lines and f"open_session {leader}" in lines
        comm = vm.run("cat", f"/proc/{leader}/comm").stdout.strip()
        assert comm == ("sshd" if vm.lab.suite == "bookworm" else "sshd-session")
        parent = vm.run("ps", "-o", "ppid=", "-p", leader).stdout.strip()
        assert vm.run("cat", f"/proc/{parent}/comm").stdout.strip() == "sshd"
        # Bound to ann's credential, in its own scope.
        assert property_of(vm, session, "Scope") in vm.run("cat", f"/proc/{leader}/cgroup").stdout
        wait_for(lambda: [row["user"] for row in scene.admin_json("sessions", "ls")["sessions"]] == ["ann"], 15,
                 "ann's session row")


@pytest.mark.trixie_only
class TestTheLocalSocket:
    """systemd-ssh-generator's /run/ssh-unix-local/socket: every local user reaches sshd by it, from no address."""

    @pytest.fixture
    def dial(self, scene):
        """dial(key, command): argv of a login by the socket, from within the VM."""
        proxy = "/usr/lib/systemd/systemd-ssh-proxy unix/run/ssh-unix-local/socket 22"

        def argv(key, command):
            put(scene.vm, "/root/probe-key", key.path.read_text(encoding="utf-8"), "600")
            return ["ssh", "-F", "/dev/null", "-i", "/root/probe-key", "-o", f"ProxyCommand={proxy}", "-o",
                    "ProxyUseFdpass=yes", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o",
                    "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes", f"{scene.login}@unix", command]

        return argv

    def test_it_lets_in_whom_policy_grants_and_a_revocation_ends_that(self, scene, dial, new_key):
        vm, ann = scene.vm, scene.person("ann")
        done = vm.run(*dial(ann.key, "id -un"), check=False)
        assert (done.returncode, done.stdout.strip()) == (0, scene.login), done.stderr
        assert vm.run(*dial(new_key(), "id -un"), check=False).returncode == 255

        live = subprocess.Popen(vm.argv(*dial(ann.key, "echo begun && exec sleep 600")), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            wait_for(lambda: scene.admin_json("sessions", "ls")["sessions"], 20, "the session's row")
            done = scene.broker.by(scene.broker.admin, "revoke", "user", "ann", "--reason", "stolen", "--wait", "30s")
            assert done.ok, done.err
            assert live.wait(20) == 255
        finally:
            live.kill()
            live.wait()
            live.stdout.close()
        assert vm.run(*dial(ann.key, "id -un"), check=False).returncode == 255

    def test_a_rule_that_names_networks_does_not_open_it(self, scene, dial):
        ann = scene.person("ann")
        rule = scene.admin_json("grant", "ls")["grants"][0]["id"]
        scene.broker.as_admin("grant", "add", "--group", "demo", "--vm", "*", "--login", scene.login, "--from", "192.0.2.0/24")
        scene.broker.as_admin("grant", "rm", rule)
        wait_for(lambda: scene.vm.run(*dial(ann.key, "id -un"), check=False).returncode == 255, 20,
                 "the local socket to be refused")
        assert_in(scene.plain(ann), scene.login)

    def test_a_key_of_the_account_s_own_does_not_pass(self, scene, dial, new_key):
        own = new_key("own")
        scene.vm.authorized_keys(scene.account, own)
        assert scene.vm.run(*dial(own, "id -un"), check=False).returncode == 255
        assert_out(scene.vm.ssh(scene.account, own, "id -un"))
