# SPDX-License-Identifier: Apache-2.0
"""The VM image: VMs that boot from one image are different VMs, and each joins by the token that it is given."""

import json
import subprocess

import pytest
from scene import TOKEN, assert_in, assert_out
from support.broker import Broker
from support.build import REPOSITORY
from support.image_vm import ImageVm
from support.wait import wait_for

IMAGE = REPOSITORY / "packaging/image"
TOKEN_FILE = "/etc/latchkey/join-token"

pytestmark = [pytest.mark.xdist_group("image"), pytest.mark.timeout(1800)]  # one makes the image


@pytest.fixture(scope="module")
def image(run_place, build):
    """The root file system, made once."""
    debs = build.debs("bookworm", "latchkey-agent")
    if not debs:
        pytest.skip("no packages under test (LATCHKEY_PACKAGES)")
    folder = run_place.folder("image") / "root"
    done = subprocess.run([IMAGE / "build", "--out", folder, "--agent", debs[0], "--cloud-init"], capture_output=True,
                          text=True, stdin=subprocess.DEVNULL, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def broker(run_place, build, lab):
    """A broker whose group demo may log in as alice to every VM."""
    broker = Broker(run_place, build, lab.network).init().start()
    broker.as_admin("group", "add", "demo")
    broker.as_admin("grant", "add", "--group", "demo", "--vm", "*", "--login", "alice", "--allow", "pty")
    yield broker
    broker.stop()


@pytest.fixture
def image_vm(place, lab, image):
    made = []

    def start(files=None, cloud=False, **how):
        if not cloud:
            files = {"etc/cloud/cloud-init.disabled": "", **(files or {})}
        made.append(ImageVm(place, lab, image, files, **how))
        return made[-1].start()

    yield start
    for vm in reversed(made):
        vm.remove()


def new_token(broker, *words):
    return TOKEN.search(broker.as_admin("vm", "token", *words))[0]


def join_log(vm):
    return vm.run("journalctl", "--no-pager", "-o", "cat", "-u", "latchkey-agent-join").stdout


def await_joined(vm):
    """It has joined, and knows which logins policy names for it."""
    wait_for(lambda: "alice" in vm.agent_status().get("managed_logins", []), 90,
             lambda: f"{vm.name} to join: {join_log(vm)}\n{vm.agent_log()}")
    vm.run("useradd", "--create-home", "--shell", "/bin/bash", "alice")
    return vm


def traits(vm):
    """What no two VMs share."""
    key = vm.run("cat", "/etc/ssh/ssh_host_ed25519_key.pub").stdout.split()[1]
    return key, vm.run("cat", "/etc/machine-id").stdout.strip(), vm.run("hostname").stdout.strip()


def test_two_vms_of_one_image_are_two_vms(broker, image_vm):
    ann = broker.enrol("ann", "demo")
    token = new_token(broker, "--uses", "2")
    by_file = await_joined(image_vm(files={TOKEN_FILE: token + "\n"}))
    by_credential = await_joined(image_vm(credentials={"latchkey.join-token": token}))
    assert all(mine and mine != other for mine, other in zip(traits(by_file), traits(by_credential), strict=True))
    names = [traits(vm)[2] for vm in (by_file, by_credential)]
    keys = [json.loads(broker.as_admin("vm", "show", name, "--json"))["key"] for name in names]
    assert keys[0] != keys[1]
    assert by_file.run("test", "-e", TOKEN_FILE, check=False).returncode == 1
    for vm in (by_file, by_credential):
        assert_in(vm.ssh("alice", ann.key, "id -un"), "alice")

    # A spent token: one line, no second try, and nobody is let in by it.
    late = image_vm(files={TOKEN_FILE: token + "\n"})
    wait_for(lambda: late.run("systemctl", "is-failed", "latchkey-agent-join", check=False).stdout.strip() == "failed",
             60, lambda: f"the join to fail: {join_log(late)}")
    refusals = [line for line in join_log(late).splitlines() if "the broker refuses" in line]
    assert len(refusals) == 1 and "vm token" in refusals[0], join_log(late)
    assert late.run("systemctl", "show", "-p", "NRestarts", "latchkey-agent-join").stdout.strip() == "NRestarts=0"
    late.run("useradd", "--create-home", "--shell", "/bin/bash", "alice")
    assert_out(late.ssh("alice", ann.key, "id -un"))

    # One VM is taken out; its twin goes on.
    broker.as_admin("revoke", "vm", names[0], "--reason", "captured")
    wait_for(lambda: not by_file.ssh("alice", ann.key, "id -un").ok, 30, "the revoked VM to let nobody in")
    assert_in(by_credential.ssh("alice", ann.key, "id -un"), "alice")


def test_a_vm_waits_for_its_broker_and_joins_by_cloud_init(broker, image_vm):
    ben = broker.enrol("ben", "demo")
    token = new_token(broker)
    broker.stop()
    seed = "var/lib/cloud/seed/nocloud"
    vm = image_vm(cloud=True, files={
        f"{seed}/meta-data": "instance-id: i-7\n",
        f"{seed}/network-config": "network: {config: disabled}\n",
        f"{seed}/user-data": "#cloud-config\nhostname: web-7\nwrite_files:\n"
                             f"  - path: {TOKEN_FILE}\n    permissions: '0600'\n    content: {token}\n"})
    wait_for(lambda: "wait to join" in join_log(vm), 90, lambda: f"the VM to wait for its broker: {join_log(vm)}")
    assert "cannot connect to the broker" in join_log(vm)
    broker.start()
    await_joined(vm)
    assert '"web-7"' in broker.as_admin("vm", "ls", "--json")
    assert vm.run("test", "-e", TOKEN_FILE, check=False).returncode == 1
    assert_in(vm.ssh("alice", ben.key, "id -un"), "alice")


# --- What an image must not hold --------------------------------------------------------------------------------

FORBIDDEN = {
    "etc/ssh/ssh_host_rsa_key": "a host key",
    "etc/hostname": "a host name",
    "etc/machine-id": "a machine id",
    "var/lib/dbus/machine-id": "a machine id",
    "root/.ssh/authorized_keys": "a key for logins",
    "home/alice/.ssh/id_ed25519": "a key for logins",
    "var/lib/systemd/random-seed": "a seed",
    "var/lib/systemd/credential.secret": "a key of systemd's credentials",
    "etc/latchkey/join-token": "a join token",
    "etc/credstore/latchkey.join-token": "a join token",
    "var/lib/latchkey-agent/identity": "the agent's state",
    "var/lib/latchkey-agent/broker": "the agent's state",
    "var/lib/latchkey-agent/managed-logins": "the agent's state",
    "var/lib/cloud/instances/i-1/user-data.txt": "cloud-init",
    "var/log/journal/0123/system.journal": "a journal",
    "var/lib/apt/lists/mirror_dists_bookworm_InRelease": "lists of packages",
    "root/.bash_history": "a shell's history",
}


def check(root):
    return subprocess.run([IMAGE / "check", root], capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def clean_root(tmp_path):
    root = tmp_path / "root"
    for name, text in {"etc/machine-id": "", "var/lib/latchkey-agent/managed-logins": "# written by latchkey-agent\n",
                       "etc/latchkey/agent.toml": "# nothing\n"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def test_a_clean_image_passes(clean_root):
    done = check(clean_root)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_two_vms_must_not_share_is_named(clean_root, name):
    (clean_root / name).parent.mkdir(parents=True, exist_ok=True)
    (clean_root / name).write_text("0123456789abcdef\n", encoding="utf-8")
    done = check(clean_root)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and FORBIDDEN[name] in done.stderr, done.stderr


def test_a_token_in_another_file_is_found(clean_root):
    token = "lk1.192.0.2.1:7443.SHA256:AbC+/9012345678901234567890123456789012345.t1.s3cret"
    (clean_root / "etc/latchkey/agent.toml").write_text(f"# {token}\n", encoding="utf-8")
    done = check(clean_root)
    assert done.returncode == 1 and "a join token: /etc/latchkey/agent.toml" in done.stderr
