# SPDX-License-Identifier: Apache-2.0
"""The agent's disk torn or full, and the agent killed at any moment: denied and said, never open."""

import os
import random
import subprocess

import pytest
from scene import Scene, assert_in, assert_out
from support.wait import wait_for

ROUNDS = int(os.environ.get("LATCHKEY_AGENT_KILL_ROUNDS", "12"))
pytestmark = pytest.mark.local_only


@pytest.fixture
def scene(new_broker, new_vm):
    return Scene(new_broker(hub={"heartbeat_seconds": 1}), new_vm(name="vm-one"))


def confirmed(scene):
    return scene.admin_json("vm", "show", "vm-one")["confirmed_epoch"]


@pytest.mark.parametrize("name", ["trust", "revocations", "revocations.log", "managed-logins", "sessions", "reports"])
def test_a_torn_file_opens_nothing_and_is_mended_by_the_broker(scene, new_key, name):
    ann, ben = scene.person("ann"), scene.person("ben")
    own = new_key("own")
    scene.vm.authorized_keys(scene.account, own)
    assert_in(scene.plain(ben), scene.login)
    scene.broker.as_admin("revoke", "user", "ann", "--reason", "left", "--wait", "15s")
    if name == "reports":
        (scene.vm.state / name).write_bytes(b"something that waits to be reported")
    scene.vm.stop_agent()
    scene.broker.stop()
    file = scene.vm.sessions if name == "sessions" else scene.vm.state / name
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    scene.vm.start_agent()
    for person in (ann, ben):
        assert_out(scene.plain(person))
    assert_out(scene.vm.ssh(scene.account, own, "id"))
    assert scene.vm.agent_status()["serving"] is False
    scene.broker.start()
    wait_for(lambda: scene.vm.agent_status().get("serving"), 40, "the agent to serve again")
    assert_in(scene.plain(ben), scene.login)
    assert_out(scene.plain(ann))
    assert_out(scene.vm.ssh(scene.account, own, "id"))
    if name != "managed-logins":  # which the trust replaced
        wait_for(lambda: " state: " in str(scene.admin_json("vm", "show", "vm-one")["reports"]), 20, "the report")
    scene.vm.stop_agent()
    assert_out(scene.vm.ssh(scene.account, own, "id"))


@pytest.mark.parametrize("name", ["broker", "identity"])
def test_without_its_pin_or_its_key_it_denies_and_says_how_to_go_on(scene, new_key, name):
    ben = scene.person("ben")
    own = new_key("own")
    scene.vm.authorized_keys(scene.account, own)
    assert_in(scene.plain(ben), scene.login)
    scene.vm.stop_agent()
    file = scene.vm.state / name
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    scene.vm.start_agent()
    assert_out(scene.plain(ben))
    assert_out(scene.vm.ssh(scene.account, own, "id"))
    assert "join again" in scene.vm.agent_log()
    scene.vm.stop_agent()
    file.write_bytes(whole)
    scene.vm.start_agent().await_serving()
    assert_in(scene.plain(ben), scene.login)


def test_a_list_cut_at_a_line_s_end_is_no_shorter_list_while_no_agent_runs(scene, new_key):
    own = new_key("own")
    scene.vm.authorized_keys(scene.account, own)
    scene.vm.stop_agent()
    file = scene.vm.state / "managed-logins"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text(lines[0])
    assert_out(scene.vm.ssh(scene.account, own, "id"))
    scene.vm.authorized_keys("carol", own)
    assert_out(scene.vm.ssh("carol", own, "id"))  # denied when in doubt
    file.write_text("".join(lines))
    assert_out(scene.vm.ssh(scene.account, own, "id"))
    assert_in(scene.vm.ssh("carol", own, "id -un"), scene.vm.login("carol"))


def test_a_full_disk_keeps_nobody_s_session_and_is_said_in_the_receipt(new_broker, new_vm):
    vm = new_vm(name="vm-one")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=755", "lk-test", vm.state],
                             capture_output=True, check=False)
    if mounted.returncode != 0:
        if os.environ.get("LATCHKEY_REQUIRE_LAB"):
            pytest.fail("no tmpfs can be mounted here")
        pytest.skip("no tmpfs can be mounted here")
    try:
        scene = Scene(new_broker(hub={"heartbeat_seconds": 1}), vm)
        ann, ben = scene.person("ann"), scene.person("ben")
        with scene.session(ann) as anns:
            assert_in(scene.plain(ben), scene.login)
            filler = vm.state / "filler"
            with open(filler, "wb", buffering=0) as out:
                try:
                    while True:
                        out.write(b"\0" * 512)
                except OSError:
                    pass
            done = scene.broker.by(scene.broker.admin, "revoke", "user", "ann", "--reason", "left", "--wait", "15s")
            assert done.code == 3 and "could not do all of it" in done.err, done.err
            assert anns.wait(15).code == 255
            assert_out(scene.plain(ann))
        trouble = scene.admin_json("revoke", "show", "1")["receipts"][0]["trouble"]
        assert "No space left" in trouble, trouble
        assert "free space" in vm.agent_status()["trouble"]
        assert not list(vm.state.glob("*.??????")), "nothing half-written"
        filler.unlink()
        wait_for(lambda: vm.agent_status()["trouble"] == "", 20, "the record to be made up for")
        vm.kill_agent()
        scene.broker.stop()
        vm.start_agent()
        assert vm.agent_status()["epoch"] == 1, "it was written down"
        assert_out(scene.plain(ann))
    finally:
        vm.kill_agent()
        subprocess.run(["umount", "-l", vm.state], check=True)


def test_killed_at_any_moment_it_lets_no_revoked_credential_in_and_owes_no_receipt(scene, tmp_path):
    ann, ben = scene.person("ann"), scene.person("ben")
    seed = random.randrange(2**32)
    print(f"seed {seed}, {ROUNDS} rounds")
    chance = random.Random(seed)
    revoked = []
    for turn in range(ROUNDS):
        certificate = tmp_path / f"ann-{turn}"
        certificate.write_text(scene.broker.by(ann, "cert", "--new").out)
        certificate.chmod(0o600)
        serial = serial_of(certificate)
        logins = [scene.vm.open_session(scene.account, ben.key, "id -un") for _ in range(2)]
        admin = scene.broker.open_session("admin", scene.broker.admin.key, "revoke", "cert", serial, "--reason", "test",
                                          "--wait", "1s")
        try:
            logins[0].process.wait(chance.uniform(0.0, 1.0))
        except subprocess.TimeoutExpired:
            pass  # the random moment
        scene.vm.kill_agent()
        for login in logins:
            login.wait(30)
        assert admin.wait(30).code in (0, 3)
        revoked.append(certificate)
        scene.vm.start_agent()
        assert_out(scene.with_certificate(ann, certificate))
    wait_for(lambda: confirmed(scene) == ROUNDS, 40, lambda: f"the receipt of {ROUNDS}; so far {confirmed(scene)}")
    for certificate in chance.sample(revoked, min(3, len(revoked))):
        assert_out(scene.with_certificate(ann, certificate))
    assert_in(scene.plain(ben), scene.login)
    live = scene.admin_json("sessions", "ls")["sessions"]
    wait_for(lambda: not scene.admin_json("sessions", "ls")["sessions"], 20, f"no session to be left over: {live}")


def serial_of(certificate):
    shown = subprocess.run(["ssh-keygen", "-L", "-f", certificate], capture_output=True, text=True, check=True).stdout
    return shown.split("Serial: ")[1].split()[0]
