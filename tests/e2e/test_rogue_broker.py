# SPDX-License-Identifier: Apache-2.0
"""A broker with every key that lies: a VM takes a certificate only with a statement over exactly it."""

import pytest
from scene import Scene, assert_in, assert_out
from support.daemon import Daemon
from support.wait import wait_for

pytestmark = pytest.mark.local_only


@pytest.mark.parametrize("statement", ["own", "other"])
def test_a_statement_over_another_certificate_opens_nothing(broker, new_vm, place, build, statement):
    scene = Scene(broker, new_vm(name="vm-one"))
    ann = scene.person("ann", unlocked=False)
    assert_out(scene.plain(ann))
    vm = scene.admin_json("vm", "show", "vm-one")["id"]
    broker.stop()
    state = broker.folder / "state"
    rogue = Daemon(place, [build.folder / "unit" / "rogue_broker", "--identity", state / "broker_ed25519", "--ledger",
                           state / "ledger_ed25519", "--ca", broker.folder / "state-signer" / "ca_ed25519",
                           "--user-key", ann.key.public, "--login", scene.login, "--vm", vm, "--port",
                           broker.hub_port, "--statement", statement], broker.folder / "rogue.log").start()
    try:
        wait_for(lambda: scene.vm.agent_status().get("connected"), 20, "the agent to come to the rogue broker")
        if statement == "own":
            assert_in(scene.plain(ann), scene.login)
        else:
            assert_out(scene.plain(ann))
            assert "statement" in scene.vm.agent_log()
    finally:
        rogue.kill()
