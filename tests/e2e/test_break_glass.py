# SPDX-License-Identifier: Apache-2.0
"""Break-glass accounts: never gated, whatever has failed, and each use heard of at the broker."""

import pytest
from scene import Scene, assert_in, assert_out
from support.wait import wait_for

HEARTBEAT = {"heartbeat_seconds": 1}


@pytest.fixture
def rescue(request, backend, place):
    """The real name of the account; it is in the agent's configuration before the VM is up."""
    return place.account("rescue") if backend == "local" else "rescue"


@pytest.fixture
def scene(new_broker, new_vm, rescue, new_key):
    scene = Scene(new_broker(hub=HEARTBEAT), new_vm(name="vm-one", break_glass=[rescue]))
    scene.key = new_key("rescue")
    scene.vm.authorized_keys("rescue", scene.key)
    scene.uses = 0
    return scene


def assert_rescue(scene, rescue):
    assert_in(scene.vm.ssh("rescue", scene.key, "id -un"), rescue)
    scene.uses += 1


def heard(scene):
    return [row for row in scene.admin_json("audit", "ls")["events"] if row["action"] == "break-glass"]


def await_heard(scene):
    wait_for(lambda: len(heard(scene)) == scene.uses, 40, lambda: f"{scene.uses} uses, heard of {heard(scene)}", every=0.3)


def test_it_opens_whatever_has_failed_and_every_use_is_reported(scene, rescue, new_key):
    ann = scene.person("ann")
    assert_in(scene.plain(ann), scene.login)
    own = new_key("own")
    scene.vm.authorized_keys(scene.account, own)

    assert_rescue(scene, rescue)
    await_heard(scene)
    assert rescue in str(heard(scene)[0]) and "vm-one" in str(heard(scene)[0])
    assert_out(scene.vm.ssh("rescue", new_key("stranger"), "id"))  # the account's own keys still count

    scene.broker.stop()
    wait_for(lambda: scene.vm.agent_status().get("connected") is False, 30, "the agent to be alone")
    assert_rescue(scene, rescue)
    scene.vm.stop_agent()
    assert_rescue(scene, rescue)  # no agent
    assert_out(scene.vm.ssh(scene.account, own, "id"))  # but nobody else
    scene.vm.run("sh", "-c", f"echo >{scene.vm.state}/managed-logins && echo >{scene.vm.state}/trust")
    assert_rescue(scene, rescue)  # and a state that is torn
    assert_out(scene.vm.ssh(scene.account, own, "id"))
    scene.vm.start_agent()
    assert_rescue(scene, rescue)
    assert_out(scene.plain(ann))

    scene.broker.start()
    await_heard(scene)
    wait_for(lambda: scene.plain(ann).ok, 30, "everything to be as before")
    shown = scene.admin_json("vm", "show", "vm-one")["reports"]
    assert sum(" break-glass: " in text for text in shown) == scene.uses
    assert any(" state: " in text for text in shown)


@pytest.mark.local_only
def test_policy_cannot_take_it(scene, rescue):
    scene.broker.as_admin("grant", "add", "--group", "demo", "--vm", "*", "--login", rescue)
    ann = scene.person("ann")
    assert_in(scene.plain(ann), scene.login)
    assert_out(scene.vm.ssh("rescue", ann.key, "id"))  # Latchkey opens it for nobody
    assert_rescue(scene, rescue)
    assert rescue not in scene.vm.agent_status()["managed_logins"]
