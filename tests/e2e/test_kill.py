# SPDX-License-Identifier: Apache-2.0
"""The broker killed with -9 at random moments: what left it is in the ledger, what was revoked stays revoked."""

import json
import os
import random
import re
import sqlite3
import subprocess
import time

import pytest
from scene import Scene
from support.wait import wait_for

ROUNDS = int(os.environ.get("LATCHKEY_KILL_ROUNDS", "200"))
CLIENTS = 3
pytestmark = pytest.mark.local_only


def serial_of(certificate, folder):
    file = folder / "shown-cert.pub"
    file.write_text(certificate)
    shown = subprocess.run(["ssh-keygen", "-L", "-f", file], capture_output=True, text=True, check=True).stdout
    return int(re.search(r"Serial: (\d+)", shown)[1])


def seconds_of(action):
    begin = time.monotonic()
    action()
    return time.monotonic() - begin


def test_nothing_unrecorded_leaves_and_no_revocation_is_lost(broker, new_vm, tmp_path):
    scene = Scene(broker, new_vm(name="vm-one"))
    ann = scene.person("ann")
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    # The moments lie around what an answer takes here and now, three at once: else a slow machine would answer none in time.
    answer = seconds_of(lambda: broker.by(ann, "cert", "--new"))
    revocation = seconds_of(lambda: broker.by(broker.admin, "revoke", "cert", "1", "--reason", "test"))
    shown, revoked = [], []
    for turn in range(ROUNDS):
        clients = [broker.open_session("ann", ann.key, "cert", "--new") for _ in range(CLIENTS)]
        admin = None
        if turn % 10 == 5 and shown:
            serial = serial_of(chance.choice(shown), tmp_path)
            admin = broker.open_session("admin", broker.admin.key, "revoke", "cert", str(serial), "--reason", "test",
                                        "--json")
        try:
            (admin or clients[0]).process.wait(chance.uniform(0.0, 4 * (revocation if admin else answer)))
        except subprocess.TimeoutExpired:
            pass  # the random moment
        broker.kill()
        for client in clients:
            shown += re.findall(r"^ssh-ed25519-cert-v01@openssh.com \S+$", client.wait(20).out, re.MULTILINE)
        if admin:
            done = admin.wait(20)
            assert done.code in (0, 3, 255), done.err  # 3: committed, a receipt is still missing; 255: cut off
            if done.code != 255:
                revoked.append(serial)
        broker.start()

    ledger = sqlite3.connect(f"file:{broker.database()}?mode=ro", uri=True)
    recorded = {serial & (2**63 - 1) for (serial,) in ledger.execute("SELECT serial FROM certificates")}
    left = {serial_of(certificate, tmp_path) for certificate in shown}
    print(f"{len(left)} certificates left the broker, {len(recorded)} are recorded, {len(revoked)} revocations")
    assert len(left) > ROUNDS / 4, "the rounds were too short to show anything"
    assert left <= recorded
    assert revoked or ROUNDS < 100, "no revocation was quick enough to be answered"
    known = json.loads(broker.as_admin("revoke", "ls", "--json"))["revocations"]
    assert {str(serial) for serial in revoked} <= {row["what"] for row in known}
    assert sorted(row["epoch"] for row in known) == list(range(1, len(known) + 1)), "the epochs have a gap"
    assert broker.by(broker.admin, "audit", "verify").ok
    wait_for(lambda: scene.vm.agent_status().get("epoch") == len(known), 30, "the VM to hear of every revocation")
