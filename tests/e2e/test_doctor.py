# SPDX-License-Identifier: Apache-2.0
"""The doctor on a real VM: each thing is broken for real, found, and mended by --fix or by hand; after that logins work.

One VM for all: alice is managed, bob is break-glass (local_logins), carol is neither. Each test leaves it in good order.
"""

import json
import os
from types import SimpleNamespace

import pytest
from scene import Scene, assert_in, assert_out
from support.broker import Broker
from support.keys import KeyPair
from support.lab import HELPER_USER, LabVm
from support.wait import wait_for

pytestmark = pytest.mark.xdist_group("doctor")
DROP_IN = "/etc/ssh/sshd_config.d/00-latchkey.conf"
EARLIER = "/etc/ssh/sshd_config.d/00-earlier.conf"
LATER = "/etc/ssh/sshd_config.d/99-later.conf"
HELPER = "/usr/libexec/latchkey/latchkey-authorized-keys"
STATE = "/var/lib/latchkey-agent"
OURS = f"""AuthorizedPrincipalsCommand none
AuthorizedKeysCommand {HELPER} %u %t %k %f
AuthorizedKeysCommandUser {HELPER_USER}
"""


@pytest.fixture(scope="module")
def house(lab, run_place, build, tmp_path_factory):
    if "lab" not in os.environ.get("LATCHKEY_E2E_BACKENDS", "lab"):
        pytest.skip("this run is for other kinds of VM")
    broker = Broker(run_place, build, lab.network, name="doctor-broker").init().start()
    vm = LabVm(run_place, lab, build, name="patient", local_logins=["bob"])
    try:
        vm.start()
        # Our drop-in as the package has it.
        put(vm, DROP_IN, OURS)
        reload_sshd(vm)
        scene = Scene(broker, vm)
        ann = scene.person("ann")
        carols = KeyPair.generate(tmp_path_factory.mktemp("carol"), "carol", "ed25519")
        vm.login("carol")
        yield SimpleNamespace(vm=vm, scene=scene, ann=ann, carols=carols)
    finally:
        vm.remove()
        broker.stop()


@pytest.fixture(autouse=True)
def sshd_runs(house):
    """Whatever the test before did to it."""
    vm = house.vm
    if vm.run("systemctl", "is-active", "ssh", check=False).returncode != 0:
        print(vm.sshd_log()[-2000:])
        vm.run("systemctl", "reset-failed", "ssh")
        vm.run("systemctl", "restart", "ssh")


def sh(vm, script, check=True):
    return vm.run("sh", "-c", script, check=check)


def put(vm, path, text, mode="644"):
    vm.run("sh", "-c", 'cat >"$1" && chmod "$2" "$1"', "put", path, mode, stdin=text)


def reload_sshd(vm):
    vm.run("systemctl", "reload", "ssh")


def doctor(vm, *words):
    done = vm.agent_command("doctor", "--json", *words, check=False)
    assert done.stdout, done.stderr
    return SimpleNamespace(code=done.returncode, **json.loads(done.stdout))


def found(report, check, severity="problem"):
    return [one for one in report.findings if (one["id"], one["severity"]) == (check, severity)]


def problems(report):
    return [f"{one['id']}: {one['what']}" for one in report.findings if one["severity"] == "problem"]


def assert_logins(house):
    """The managed login by the broker's grant, the break-glass one by its own key."""
    assert_in(house.scene.plain(house.ann), "alice")
    assert house.vm.lab_ssh("bob", "true").ok


def assert_well(house):
    report = doctor(house.vm)
    assert (report.code, problems(report)) == (0, [])
    assert_logins(house)


def test_a_vm_in_good_order_has_no_problem(house):
    assert_well(house)
    report = doctor(house.vm, "--fix")
    assert (report.code, report.fixes) == (0, [])


def test_a_person_reads_what_why_and_what_to_do(house):
    house.vm.run("chmod", "757", HELPER)
    try:
        done = house.vm.agent_command("doctor", check=False)
    finally:
        house.vm.run("chmod", "755", HELPER)
    assert done.returncode == 1
    assert "problem  helper-path" in done.stdout
    assert "why:" in done.stdout and "do:" in done.stdout and "doctor --fix" in done.stdout


def test_without_root_it_says_what_it_could_not_look_at(house):
    done = house.vm.run("runuser", "-u", "carol", "--", house.vm.agent_program, "doctor", "--json", check=False)
    report = json.loads(done.stdout)
    assert done.returncode == 3, problems(SimpleNamespace(**report))
    assert {"keys-command", "agent-running", "identity"} <= {one["id"] for one in report["findings"]
                                                             if one["severity"] == "unseen"}


# What --fix mends: id, how it is broken.
MENDED = {
    "sshd-include": "sed -i /^Include/d /etc/ssh/sshd_config && systemctl reload ssh",
    "keys-command": f"rm {DROP_IN} && systemctl reload ssh",
    "keys-command-user": f"sed -i 's/^AuthorizedKeysCommandUser.*/AuthorizedKeysCommandUser nobody/' {DROP_IN}; "
                         "systemctl reload ssh",
    "helper-path": f"chmod 757 {HELPER} && chown bob /usr/libexec/latchkey",
    "pam-account": "sed -i '/^account.*pam_latchkey/d' /etc/pam.d/sshd",
    "pam-session": "sed -i -e '/^session.*pam_latchkey/d' -e '/^@include common-session$/i session required "
                   "pam_latchkey.so' /etc/pam.d/sshd",
    "state-files": f"chmod 666 {STATE}/trust && chown bob {STATE}/revocations",
    "identity": f"chmod 644 {STATE}/identity",
}


@pytest.mark.parametrize("check", MENDED)
def test_what_is_broken_is_found_and_mended(house, check):
    vm = house.vm
    bobs = sshd_says(vm, "bob")
    main = vm.run("cat", "/etc/ssh/sshd_config").stdout
    sh(vm, MENDED[check])
    try:
        broken = doctor(vm)
        assert broken.code == 1
        assert found(broken, check), problems(broken)
        mended = doctor(vm, "--fix")
        assert [one["what"] for one in mended.fixes if one["done"]], mended.fixes
        assert not found(mended, check), mended.fixes
        assert_well(house)
        assert doctor(vm, "--fix").fixes == []
        if check != "sshd-include":  # what broke it took other files of the lab out of use as well
            assert without_ours(sshd_says(vm, "bob")) == without_ours(bobs)
    finally:
        put(vm, "/etc/ssh/sshd_config", main)
        reload_sshd(vm)


def sshd_says(vm, login):
    return vm.run("/usr/sbin/sshd", "-T", "-C", f"user={login},host=h,addr=192.0.2.1").stdout.splitlines()


def without_ours(lines):
    return [line for line in lines if not line.startswith("authorizedkeyscommand")]


def test_principals_below_keys_are_put_above_them(house):
    vm = house.vm
    put(vm, DROP_IN, f"AuthorizedKeysCommand {HELPER} %u %t %k %f\nAuthorizedKeysCommandUser {HELPER_USER}\n"
                     "AuthorizedPrincipalsCommand /usr/bin/false %u\nAuthorizedPrincipalsCommandUser nobody\n")
    try:
        if "authorizedprincipalscommand none" not in sshd_says(vm, "alice"):
            pytest.skip("this sshd does not forget it")
        assert found(doctor(vm), "principals-order")
        assert not found(doctor(vm, "--fix"), "principals-order")
        assert "authorizedprincipalscommand /usr/bin/false %u" in sshd_says(vm, "alice")
        assert_logins(house)
    finally:
        put(vm, DROP_IN, OURS)
        reload_sshd(vm)


# What only a person may mend: id, severity, how it is broken, how it is undone.
BY_HAND = {
    "use-pam": ("problem", f"echo UsePAM no >{EARLIER}", f"rm {EARLIER}"),
    "sshd-config": ("problem", f"echo Garbage yes >{EARLIER}", f"rm {EARLIER}"),
    "sshd-options": ("problem",
                     "mkdir -p /run/systemd/system/ssh.service.d && printf '[Service]\\nExecStart=\\nExecStart="
                     "/usr/sbin/sshd -D -o AuthorizedKeysCommand=none\\n' >/run/systemd/system/ssh.service.d/o.conf && "
                     "systemctl daemon-reload && systemctl restart ssh",
                     "rm -r /run/systemd/system/ssh.service.d && systemctl daemon-reload && systemctl restart ssh"),
    "revoked-keys": ("problem", f": >/etc/ssh/krl; echo RevokedKeys /etc/ssh/krl >{EARLIER}", f"rm {EARLIER}"),
    "agent-running": ("problem", "systemctl stop latchkey-agent", "systemctl start latchkey-agent"),
    "broker-reach": ("problem", "ip route add blackhole 192.0.2.1/32", "ip route del blackhole 192.0.2.1/32"),
    "joined": ("problem", f"mv {STATE}/broker /root/", f"mv /root/broker {STATE}/"),
    "pam-module": ("problem", "mv /usr/lib/*/security/pam_latchkey.so /root/",
                   "mv /root/pam_latchkey.so /usr/lib/*-linux-gnu/security/"),
    "helper-user": ("problem", f"cp -p /etc/passwd /root/ && sed -i /^{HELPER_USER}:/d /etc/passwd",
                    "cp -p /root/passwd /etc/passwd"),
    # Of this keyword OpenSSH 9.2 takes the last value.
    "max-startups": ("warning", f"echo MaxStartups 10:30:100 | tee {EARLIER} >{LATER}", f"rm {EARLIER} {LATER}"),
    "match-blocks": ("warning", f"printf 'Match Address 198.51.100.0/24\\nAuthorizedKeysFile none\\n' >{EARLIER}",
                     f"rm {EARLIER}"),
    "trusted-ca": ("warning", f"echo TrustedUserCAKeys /etc/ssh/ssh_host_ed25519_key.pub >{EARLIER}", f"rm {EARLIER}"),
}


@pytest.mark.parametrize("check", BY_HAND)
def test_what_is_broken_is_found_and_left_to_a_person(house, check):
    vm = house.vm
    severity, broken, undone = BY_HAND[check]
    sh(vm, broken)
    try:
        report = doctor(vm)
        assert found(report, check, severity), report.findings
        assert (report.code == 1) == (severity == "problem")
        assert found(doctor(vm, "--fix"), check, severity)
    finally:
        sh(vm, undone)
    wait_for(lambda: not found(doctor(vm), check, severity), 20, f"{check} to be well again")
    vm.await_serving()
    wait_for(lambda: vm.agent_status().get("connected"), 40, "the agent to be back at its broker")


# --- Another AuthorizedKeysCommand ------------------------------------------------------------------------------

OTHER = "/usr/lib/other-keys"


@pytest.fixture
def other_command(house):
    """A command that gives carol's key for everybody, in a file that sshd reads before ours."""
    vm = house.vm
    put(vm, "/etc/other-keys", f"{house.carols.public}\n")
    put(vm, OTHER, "#!/bin/sh\n[ \"$(id -un)\" = nobody ] && [ -n \"$1\" ] && cat /etc/other-keys\n", "755")
    put(vm, EARLIER, f"AuthorizedKeysCommand {OTHER} %u\nAuthorizedKeysCommandUser nobody\n")
    agent_toml = vm.run("cat", vm.agent_config).stdout
    reload_sshd(vm)
    yield
    put(vm, vm.agent_config, agent_toml)
    put(vm, DROP_IN, OURS)
    sh(vm, f"rm -f {EARLIER}* {OTHER}; systemctl restart latchkey-agent")
    reload_sshd(vm)
    vm.await_serving()


@pytest.mark.usefixtures("other_command")
def test_another_command_is_chained_behind_ours(house):
    vm = house.vm
    assert_out(house.scene.plain(house.ann))
    broken = doctor(vm)
    assert found(broken, "keys-command") and found(broken, "dropin-order")
    mended = doctor(vm, "--fix")
    assert (mended.code, problems(mended)) == (0, []), mended.fixes
    assert doctor(vm, "--fix").fixes == []
    assert f"AuthorizedKeysCommand {OTHER} %u\n" in vm.run("cat", f"{EARLIER}.latchkey-old").stdout
    assert_logins(house)
    assert_in(vm.ssh("carol", house.carols, "id -un"), "carol")
    assert_out(vm.ssh("alice", house.carols, "id -un"))  # managed: the other is not asked
    assert_out(vm.ssh("carol", house.ann.key, "id -un"))

    vm.stop_agent()
    assert_in(vm.ssh("carol", house.carols, "id -un"), "carol")
    assert_out(vm.ssh("alice", house.carols, "id -un"))
    vm.start_agent()


@pytest.mark.usefixtures("other_command")
def test_a_doctor_killed_at_any_moment_leaves_a_good_configuration(house):
    vm = house.vm
    for millis in range(50, 1250, 150):
        sh(vm, f"timeout -s KILL {millis / 1000} {vm.agent_program} doctor --fix --config {vm.agent_config} >/dev/null",
           check=False)
        vm.run("/usr/sbin/sshd", "-t")
    assert vm.lab_ssh("bob", "true").ok
    mended = doctor(vm, "--fix")
    assert (mended.code, problems(mended)) == (0, []), mended.fixes
    vm.await_serving()
    assert_logins(house)
    assert_in(vm.ssh("carol", house.carols, "id -un"), "carol")
    # Neither a trial nor a debt is left, only the lock's file.
    assert sh(vm, "ls -d /run/latchkey-doctor*").stdout.split() == ["/run/latchkey-doctor.lock"]
