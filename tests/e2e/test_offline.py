# SPDX-License-Identifier: Apache-2.0
"""A VM without its broker, a VM that slept, a broker that went back: who gets in, and what is heard of it later."""

import os
import shutil
import subprocess
import time

import pytest
from scene import Scene, assert_in, assert_out
from support.wait import wait_for

HEARTBEAT = {"heartbeat_seconds": 1}


@pytest.fixture
def scene(new_broker, new_vm):
    return Scene(new_broker(hub=HEARTBEAT), new_vm(name="vm-one"))


def await_alone(vm):
    wait_for(lambda: vm.agent_status().get("connected") is False, 30, "the agent to notice that its broker is gone")


def await_back(vm):
    wait_for(lambda: vm.agent_status().get("connected") and vm.agent_status().get("serving"), 40,
             lambda: f"the agent to be back: {vm.agent_status()}")


def shown(scene):
    return scene.admin_json("vm", "show", scene.vm.name)


def reports(scene):
    return [text.split(" ", 1)[1] for text in shown(scene)["reports"]]


def grace(scene, span):
    """Set, and heard by the agent: it writes down what it hears."""
    trust = scene.vm.run("sha256sum", f"{scene.vm.state}/trust").stdout
    scene.broker.as_admin("vm", "set", scene.vm.name, "--offline-grace", span)
    wait_for(lambda: scene.vm.run("sha256sum", f"{scene.vm.state}/trust").stdout != trust, 20, "the grace to arrive")


# --- The broker is gone -----------------------------------------------------------------------------------------


def test_for_less_than_the_grace_held_grants_are_served_and_no_others(scene):
    ann, ben = scene.person("ann"), scene.person("ben")
    assert_in(scene.plain(ann), scene.login)
    scene.broker.stop()
    await_alone(scene.vm)
    assert_in(scene.plain(ann), scene.login)
    assert_out(scene.plain(ben))
    assert "no broker, and no grant held for this key" in scene.vm.agent_log()
    scene.broker.start()
    await_back(scene.vm)
    assert_in(scene.plain(ben), scene.login)


@pytest.mark.local_only
@pytest.mark.parametrize("span", ["3s", "0"])
def test_for_longer_than_the_grace_nobody_is_let_in_until_it_is_back(scene, span):
    ann = scene.person("ann")
    assert_in(scene.plain(ann), scene.login)
    grace(scene, span)
    assert shown(scene)["offline_grace_seconds"] == (0 if span == "0" else 3)
    scene.broker.stop()
    await_alone(scene.vm)
    wait_for(lambda: not scene.plain(ann).ok, 30, "the grace to end")
    assert_out(scene.plain(ann))
    assert "the time that grants may be served without one is over" in scene.vm.agent_log()
    assert scene.vm.agent_status()["serving"] is False
    scene.broker.start()
    await_back(scene.vm)
    assert_in(scene.plain(ann), scene.login)


@pytest.mark.local_only
def test_what_was_missed_counts_before_anybody_is_let_in_again(scene):
    ann, ben = scene.person("ann"), scene.person("ben")
    with scene.session(ann) as anns, scene.session(ben) as bens:
        scene.vm.kill_agent()
        done = scene.broker.by(scene.broker.admin, "revoke", "user", "ann", "--reason", "left", "--wait", "1s")
        assert done.code == 3, done
        scene.vm.start_agent()
        assert_out(scene.plain(ann))  # whether the agent is back yet or not
        assert anns.wait(30).code == 255
        assert bens.running
        await_back(scene.vm)
        assert_out(scene.plain(ann))
        assert_in(scene.plain(ben), scene.login)
        wait_for(lambda: shown(scene)["confirmed_epoch"] == 1, 20, "the receipt")
        receipt = scene.admin_json("revoke", "show", "1")["receipts"][0]
        assert (receipt["sessions_found"], receipt["sessions_ended"]) == (1, 1)


@pytest.mark.local_only
def test_a_session_that_outlived_its_certificate_ends_when_the_vm_is_back(new_broker, new_vm):
    scene = Scene(new_broker(hub=HEARTBEAT, limits={"certificate_seconds": 10}), new_vm(name="vm-one"))
    ann, ben = scene.person("ann"), scene.person("ben")
    with scene.session(ann) as anns, scene.session(ben) as bens:
        scene.vm.kill_agent()
        scene.broker.by(scene.broker.admin, "revoke", "user", "ann", "--reason", "left", "--wait", "1s")
        ends = scene.admin_json("revoke", "ls")["revocations"][0]["drop_at"]
        wait_for(lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()) > ends, 30, "the revocation to end")
        assert anns.running
        scene.vm.start_agent()
        assert anns.wait(30).code == 255
        assert bens.running


@pytest.mark.local_only
def test_an_unlock_sends_its_grant_ahead_to_where_the_user_was_lately(scene):
    ann, ben = scene.person("ann"), scene.person("ben")
    assert_in(scene.plain(ann), scene.login)
    for person in (ann, ben):
        scene.lock(person)
    scene.vm.stop_agent()
    scene.vm.start_agent()
    await_back(scene.vm)
    assert scene.vm.agent_status()["cached_grants"] == 0
    for person in (ben, ann):
        scene.unlock(person)
    wait_for(lambda: scene.vm.agent_status()["cached_grants"] == 1, 20, "the grant to come ahead")
    scene.broker.stop()
    await_alone(scene.vm)
    assert_in(scene.plain(ann), scene.login)
    assert_out(scene.plain(ben))  # was never here


# --- Sleep and clocks -------------------------------------------------------------------------------------------


def test_a_vm_that_slept_hears_what_it_missed_before_it_lets_anybody_in(scene):
    ann, ben = scene.person("ann"), scene.person("ben")
    with scene.session(ann) as anns, scene.session(ben) as bens:
        scene.vm.signal_agent("STOP")
        wait_for(lambda: not shown(scene)["connected"], 30, "the broker to notice", every=0.3)
        scene.broker.by(scene.broker.admin, "revoke", "user", "ann", "--reason", "left", "--wait", "1s")
        assert anns.running
        scene.vm.signal_agent("CONT")
        assert_out(scene.plain(ann))
        assert anns.wait(30).code == 255
        assert bens.running
        await_back(scene.vm)
        assert_in(scene.plain(ben), scene.login)


@pytest.mark.local_only
@pytest.mark.parametrize("off", ["-7m", "+7m"])
def test_a_clock_that_is_minutes_off_neither_opens_nor_closes_and_is_shown(scene, off):
    if os.environ.get("LATCHKEY_SANITIZED"):
        pytest.skip("libfaketime cannot be loaded before a sanitizer: the plain builds run this one")
    library = subprocess.run(["sh", "-c", "ls /usr/lib/*/faketime/libfaketimeMT.so.1"], capture_output=True, text=True,
                             check=True).stdout.strip()
    ann = scene.person("ann")
    scene.vm.stop_agent()
    scene.vm.start_agent(LD_PRELOAD=library, FAKETIME=off, FAKETIME_DONT_FAKE_MONOTONIC="1").await_serving()
    assert_in(scene.plain(ann), scene.login)
    wait_for(lambda: "clock" in (shown(scene)["trouble"] or ""), 30, "the offset to be shown")
    assert (shown(scene)["clock_offset_ms"] < 0) == off.startswith("-")
    assert "clock" in scene.admin_json("vm", "ls")["vms"][0]["trouble"]
    scene.broker.stop()
    await_alone(scene.vm)
    assert_in(scene.plain(ann), scene.login)  # the grace is counted in the broker's time
    scene.broker.start()
    await_back(scene.vm)
    scene.broker.as_admin("revoke", "user", "ann", "--reason", "left", "--wait", "15s")
    assert_out(scene.plain(ann))


# --- Back in time, and twice ------------------------------------------------------------------------------------


@pytest.mark.local_only
def test_a_vm_set_back_to_a_snapshot_catches_up_before_it_serves(scene, tmp_path):
    ann, ben = scene.person("ann"), scene.person("ben")
    assert_in(scene.plain(ann), scene.login)
    scene.vm.stop_agent()
    shutil.copytree(scene.vm.state, tmp_path / "snapshot")
    scene.vm.start_agent().await_serving()
    scene.broker.as_admin("revoke", "user", "ann", "--reason", "left", "--wait", "15s")
    assert_out(scene.plain(ann))
    scene.vm.kill_agent()
    shutil.rmtree(scene.vm.state)
    shutil.copytree(tmp_path / "snapshot", scene.vm.state)
    scene.vm.start_agent()
    assert_out(scene.plain(ann))
    await_back(scene.vm)
    assert_out(scene.plain(ann))
    assert_in(scene.plain(ben), scene.login)
    assert scene.vm.agent_status()["epoch"] == 1


@pytest.mark.local_only
def test_a_broker_set_back_to_a_backup_is_refused_and_that_is_reported(scene, tmp_path):
    ann = scene.person("ann")
    broker, state = scene.broker, scene.broker.folder / "state"
    broker.stop()
    backup = {name: (state / name).read_bytes() for name in os.listdir(state) if name.startswith("ledger.db")}
    broker.start()
    await_back(scene.vm)
    assert_in(scene.plain(ann), scene.login)
    broker.as_admin("revoke", "user", "ann", "--reason", "left", "--wait", "15s")
    broker.stop()
    newest = {name: (state / name).read_bytes() for name in os.listdir(state) if name.startswith("ledger.db")}
    put(state, backup)
    broker.start()
    wait_for(lambda: "hub.rollback" in broker.as_admin("audit", "ls", "--json"), 30, "the audit row", every=0.3)
    assert any(text.startswith("rollback: ") for text in reports(scene))
    assert "rolled back" in scene.vm.agent_status()["trouble"]
    assert_out(scene.plain(ann))  # by the ledger of the backup she is no thief
    broker.stop()
    put(state, newest)
    broker.start()
    await_back(scene.vm)
    assert scene.vm.agent_status()["trouble"] == ""
    assert_out(scene.plain(ann))


def put(state, files):
    for name in os.listdir(state):
        if name.startswith("ledger.db"):
            (state / name).unlink()
    for name, content in files.items():
        (state / name).write_bytes(content)
        shutil.chown(state / name, state.owner(), state.group())
        (state / name).chmod(0o600)


@pytest.mark.local_only
def test_a_copy_of_a_vm_is_refused_while_the_first_one_lives_and_is_reported(scene, new_vm):
    ann = scene.person("ann")
    assert_in(scene.plain(ann), scene.login)
    copy = new_vm(name="vm-copy")
    shutil.copytree(scene.vm.state, copy.state, dirs_exist_ok=True)
    copy.start_agent()
    wait_for(lambda: "identity" in copy.agent_status().get("trouble", ""), 30, lambda: f"the refusal: {copy.agent_log()}")
    assert_out(copy.ssh(scene.account, ann.key, "id -un"))
    assert any(text.startswith("clone: ") for text in reports(scene))
    assert scene.vm.agent_status()["connected"]
    assert_in(scene.plain(ann), scene.login)
    scene.vm.kill_agent()  # with the first one gone, there is one again
    wait_for(lambda: copy.agent_status().get("connected"), 40, "the copy to be welcome")
