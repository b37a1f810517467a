# SPDX-License-Identifier: Apache-2.0
"""One `revoke user` against many VMs with many live sessions: every receipt, every session.

LATCHKEY_MANY_VMS and LATCHKEY_MANY_SESSIONS: 6 and 60 here; 20 and 200 by hand.
"""

import concurrent.futures
import json
import os
import threading
import time

import pytest
from scene import Scene
from support.broker import Broker
from support.lab import LabVm
from team import committed_at, figures

VMS = int(os.environ.get("LATCHKEY_MANY_VMS", "6"))
SESSIONS = int(os.environ.get("LATCHKEY_MANY_SESSIONS", "60"))
AT_ONCE = 6


def at_once(job, items):
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(job, items))


@pytest.fixture
def fleet(lab, place, build):
    broker = Broker(place, build, lab.network).init().start()
    vms = [LabVm(place, lab, build, name=f"many-{number}") for number in range(VMS)]
    try:
        at_once(lambda vm: vm.start(), vms)
        scene = Scene(broker, vms[0])
        token = scene.token("--uses", str(VMS))
        at_once(lambda vm: (vm.login(scene.account), vm.join(token), scene.await_managed(vm)), vms[1:])
        yield scene, vms
    finally:
        broker.stop()
        for vm in vms:
            vm.remove()


def ends_of(sessions):
    """Wall-clock times at which the clients end, as they come."""
    ends = [None] * len(sessions)

    def watch(at, session):
        session.process.wait()
        ends[at] = time.time()

    threads = [threading.Thread(target=watch, args=pair, daemon=True) for pair in enumerate(sessions)]
    for thread in threads:
        thread.start()
    return ends, threads


def test_one_revocation_reaches_every_vm(fleet):
    scene, vms = fleet
    ann, ben = scene.person("ann"), scene.person("ben")
    sessions = []
    try:
        bens = [vm.open_shell(scene.account, ben.key) for vm in vms[:2]]
        sessions += bens
        anns = at_once(lambda at: vms[at % VMS].open_shell(scene.account, ann.key), range(SESSIONS))
        sessions += anns
        ends, threads = ends_of(anns)
        done = scene.broker.by(scene.broker.admin, "revoke", "user", "ann", "--reason", "stolen", "--wait", "60s", "--json")
        assert done.ok, done.err
        said = json.loads(done.out)
        for thread in threads:
            thread.join(30)
        assert all(ends), f"{ends.count(None)} clients were not cut off"
        assert all(session.process.returncode == 255 for session in anns)
        assert all(session.running for session in bens)
        commit = committed_at(scene, said["epoch"])
        receipts = scene.admin_json("revoke", "show", str(said["epoch"]))["receipts"]
        print(f"{VMS} VMs, {SESSIONS} sessions: {said['vms_confirmed']}/{said['vms_expected']} receipts in "
              f"{said['took_ms']} ms; commit to client cut off: {figures([end - commit for end in ends])}")
        assert said["vms_confirmed"] == said["vms_expected"] == VMS
        assert sorted(receipt["vm"] for receipt in receipts) == sorted(vm.name for vm in vms)
        assert sum(receipt["sessions_ended"] for receipt in receipts) == SESSIONS
        assert not [receipt["trouble"] for receipt in receipts if receipt["trouble"]]
    finally:
        for session in sessions:
            session.close()
