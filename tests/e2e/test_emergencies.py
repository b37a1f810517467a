# SPDX-License-Identifier: Apache-2.0
"""docs/emergencies.md, done: keys of the broker that were lost or stolen are replaced by what that page says to type."""

import contextlib
import sqlite3
import subprocess

import pytest
from scene import Scene, assert_in, assert_out
from support.wait import wait_for

pytestmark = pytest.mark.local_only


def replace_key(path, comment):
    """A new key in the place of one that is moved away, by the account that owns the folder."""
    path.rename(path.with_name(f"{path.name}.old"))
    subprocess.run(["runuser", "-u", path.parent.owner(), "--", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment,
                    "-f", path], check=True, stdin=subprocess.DEVNULL)


def await_login(scene, person):
    wait_for(lambda: scene.plain(person).ok, 30, lambda: f"{person.name} to be let in: {scene.vm.agent_status()}")
    assert_in(scene.plain(person), scene.login)


def test_a_stolen_ca_key_is_replaced_and_what_it_signed_opens_nothing(broker, new_vm, new_key, tmp_path):
    scene = Scene(broker, new_vm(name="vm-one"))
    ann = scene.person("ann")
    old = scene.certificate(ann, tmp_path)
    assert_in(scene.with_certificate(ann, old), scene.login)
    stolen = next(key["fingerprint"] for key in scene.admin_json("ca", "show")["keys"] if key["use"] == "signs")
    with scene.session(ann) as session:
        broker.stop()
        replace_key(broker.folder / "state-signer" / "ca_ed25519", "latchkey-ca")
        broker.start()
        signs = [key["fingerprint"] for key in scene.admin_json("ca", "show")["keys"] if key["use"] == "signs"]
        assert signs and stolen not in signs
        await_login(scene, ann)

        broker.as_admin("revoke", "ca", stolen, "--reason", "the old CA key is out", "--wait", "30s")
        assert session.wait(20).code != 0
    assert_out(scene.with_certificate(ann, old))
    await_login(scene, ann)
    assert_out(scene.vm.ssh(scene.account, new_key("stranger"), "id -un"))
    new = scene.certificate(ann, tmp_path / "..")
    assert_in(scene.with_certificate(ann, new), scene.login)


def test_a_stolen_identity_is_replaced_and_every_vm_joins_anew(broker, new_vm):
    scene = Scene(broker, new_vm(name="vm-one"))
    ann = scene.person("ann")
    assert_in(scene.plain(ann), scene.login)
    broker.stop()
    for name, comment in (("broker_ed25519", "latchkey-broker"), ("ledger_ed25519", "latchkey-ledger")):
        replace_key(broker.folder / "state" / name, comment)
    refused = broker.latchkeyd("serve")
    assert refused.code == 2 and "first served with" in refused.err.splitlines()[-1], refused
    with contextlib.closing(sqlite3.connect(broker.database())) as database, database:
        assert database.execute("DELETE FROM settings WHERE name = 'brokers.keys'").rowcount == 1
    assert broker.latchkeyd("revoke-all").ok
    broker.start()

    # It is pinned to the old one. What it holds it serves for its grace.
    wait_for(lambda: "if the broker's key was really changed" in scene.vm.agent_log(), 30, "the VM to refuse the new identity")
    scene.vm.stop_agent()
    scene.join(scene.vm)
    scene.unlock(ann)
    await_login(scene, ann)
    assert broker.by(broker.admin, "audit", "verify").ok
