# SPDX-License-Identifier: Apache-2.0
"""Three brokers on one PostgreSQL, a VM at each; then one after the other of them dies, is cut off, or stands still.

After each blow: what left a broker is in the ledger, what was revoked reaches every VM, and people get in by whoever
is left, or are told in one line why not. LATCHKEY_PAUSE_SECONDS is how long a paused broker stands still (6)."""

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from scene import Scene, assert_in, assert_out
from support.broker import Broker
from support.island import Island
from support.keys import KeyPair
from support.local_vm import LocalVm
from support.network import Network
from support.postgres import Postgres, programs
from support.wait import wait_for

HUB = {"heartbeat_seconds": 1}  # an agent leaves after three, and a broker is gone after four
PAUSE = float(os.environ.get("LATCHKEY_PAUSE_SECONDS", "6"))
CERTIFICATE = re.compile(r"^ssh-ed25519-cert-v01@openssh.com \S+$", re.MULTILINE)

pytestmark = [
    pytest.mark.xdist_group("brokers"),  # one set of brokers for all tests
    pytest.mark.skipif(programs() is None, reason="PostgreSQL's server is not installed (packaging/deps test)"),
]


class Cluster:
    def __init__(self, place, build, stack):
        self.place = place
        try:
            self.island = Island()
            stack.callback(self.island.close)
        except (OSError, subprocess.CalledProcessError) as error:
            self.island = None
            self.why_no_island = getattr(error, "stderr", "") or str(error)
        self.postgres = start_postgres(place, stack, self.island)
        networks = [Network(), Network(), self.island or Network()]
        self.brokers = []
        for number, network in enumerate(networks):
            store = {"plugin": "postgres", "url": self.postgres.url(), "connect_timeout_seconds": 2}
            if network is self.island:  # a socket in a folder would go through every cut
                store["url"] = f"host={network.shore} port={self.postgres.port} dbname=latchkey user=postgres sslmode=disable"
                store["statement_timeout_ms"] = 3000
            self.brokers.append(Broker(place, build, network, name=f"broker-{number + 1}", hub=HUB, store=store,
                                       like=self.brokers[0] if self.brokers else None))
        everywhere = json.dumps([broker.hub_address for broker in self.brokers])
        for broker in self.brokers:
            text = broker.config.read_text().replace("[hub]\n", f"[hub]\nbrokers = {everywhere}\n")
            broker.config.write_text(text)
            broker.init().start()
            stack.callback(broker.stop)
        self.vms = []
        for number, broker in enumerate(self.brokers):
            vm = LocalVm(place, build=build, name=f"vm-{number + 1}").start()
            stack.callback(vm.remove)
            self.vms.append(vm)
            if number == 0:
                self.scene = Scene(broker, vm)  # joins it
            else:
                vm.join(re.search(r"lk1\.\S+", broker.as_admin("vm", "token"))[0])
                self.scene.await_managed(vm)

    def person(self, name, broker=None):
        return (broker or self.first).enrol(name, "demo")

    @property
    def first(self):
        return self.brokers[0]

    def login(self, vm, person):
        return vm.ssh("alice", person.key, "id -un")

    def at(self, broker):
        """The VMs that are connected to this broker."""
        return [vm for vm in self.vms if self.where(vm) == broker.hub_address]

    @staticmethod
    def where(vm):
        status = vm.agent_status()
        return status["broker"] if status.get("connected") and status.get("serving") else None

    def await_away_from(self, broker):
        """No VM is at this broker, and each is at another one."""
        wait_for(lambda: all(self.where(vm) not in (None, broker.hub_address) for vm in self.vms), 60,
                 lambda: f"the VMs to leave: {[vm.agent_status() for vm in self.vms]}")

    def await_connected(self):
        wait_for(lambda: all(self.where(vm) for vm in self.vms), 60,
                 lambda: f"the VMs to be back: {[vm.agent_status() for vm in self.vms]}")

    def bring_to(self, broker):
        """A VM that is at this broker: one that joins it anew where there is none."""
        if not self.at(broker):
            vm = self.vms[self.brokers.index(broker)]
            vm.stop_agent()
            (vm.state / "brokers").unlink(missing_ok=True)
            vm.join(re.search(r"lk1\.\S+", broker.as_admin("vm", "token"))[0])
        return wait_for(lambda: self.at(broker), 30, f"a VM at {broker.hub_address}")[0]

    def revoke(self, broker, person):
        """By an admin at this broker, until every VM at every broker has confirmed."""
        done = broker.by(broker.admin, "revoke", "user", person.name, "--reason", "test", "--wait", "40s", "--json",
                         seconds=90)
        assert done.code == 0, f"{done.code}: {done.err} {done.out}"
        answer = json.loads(done.out)
        assert answer["vms_confirmed"] == answer["vms_expected"] == len(self.vms), answer
        for vm in self.vms:
            assert_out(self.login(vm, person))
        return answer

    def check_ledger(self, certificates):
        recorded = {int(serial) & (2**63 - 1) for serial in self.postgres.sql("SELECT serial FROM certificates").split()}
        left = {serial_of(text, self.place) for text in certificates}
        assert left <= recorded, "a certificate left a broker and is not in the ledger"
        epochs = [int(epoch) for epoch in self.postgres.sql("SELECT epoch FROM revocations ORDER BY epoch").split()]
        assert epochs == list(range(1, len(epochs) + 1)), "the epochs have a gap"
        assert self.first.by(self.first.admin, "audit", "verify").ok


def start_postgres(place, stack, island):
    """With a database; and where there is an island, open to it by TCP."""
    settings = {"listen_addresses": island.shore, "port": Network().free_port()} if island else {}
    postgres = Postgres(place, settings=settings).start()
    stack.callback(postgres.stop)
    postgres.sql("CREATE DATABASE latchkey", database="postgres")
    if island:
        with open(postgres.data / "pg_hba.conf", "a", encoding="utf-8") as rules:
            rules.write("host all all 10.0.0.0/8 trust\n")
        postgres.sql("SELECT pg_reload_conf()", database="postgres")
        answer = ["psql", "-qAt", f"host={island.shore} port={postgres.port} user=postgres sslmode=disable", "-c", "SELECT 1"]
        wait_for(lambda: subprocess.run(answer, capture_output=True, check=False).returncode == 0, 20,
                 "PostgreSQL to let the island in")
    return postgres


def serial_of(certificate, place):
    file = place.folder("shown") / "cert.pub"
    file.write_text(certificate)
    shown = subprocess.run(["ssh-keygen", "-L", "-f", file], capture_output=True, text=True, check=True).stdout
    return int(re.search(r"Serial: (\d+)", shown)[1])


@contextlib.contextmanager
def issuing(brokers, person):
    """Somebody takes certificates at all these brokers all the while; gives what has come out and what was said."""
    stop, certificates, failures = threading.Event(), [], []

    def take(broker):
        while not stop.is_set():
            done = broker.by(person, "cert", "--new", seconds=60)
            certificates.extend(CERTIFICATE.findall(done.out))
            if not done.ok:
                failures.append(done)

    threads = [threading.Thread(target=take, args=(broker,)) for broker in brokers]
    for thread in threads:
        thread.start()
    try:
        yield certificates, failures
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def assert_one_line(done):
    """What a person sees whose broker cannot answer."""
    lines = [line for line in done.err.splitlines() if line.strip()]
    assert not done.ok and len(lines) <= 2 and "Traceback" not in done.err, done


@pytest.fixture(scope="module")
def whole(run_place, build):
    with contextlib.ExitStack() as stack:
        yield Cluster(run_place, build, stack)


@pytest.fixture
def cluster(whole, place):
    for broker in whole.brokers:
        place.log(broker.daemon.log)
    for vm in whole.vms:
        place.log(vm.agent.log)
    return whole


def test_any_broker_serves_any_person_and_any_vm(cluster):
    here, there, third = cluster.brokers
    ann = cluster.person("ann", broker=there)
    for broker in cluster.brokers:  # as they joined, before anybody had told them of the others
        assert cluster.at(broker), [vm.agent_status() for vm in cluster.vms]
    for vm in cluster.vms:
        assert_in(cluster.login(vm, ann), cluster.scene.login)
    vm = cluster.at(third)[0]
    with vm.open_shell("alice", ann.key) as session:
        rows = wait_for(lambda: json.loads(here.as_admin("sessions", "ls", "--user", "ann", "--json"))["sessions"], 20,
                        "the session's row")
        assert (rows[0]["vm"], rows[0]["state"]) == (vm.name, "live"), rows
        done = here.by(here.admin, "sessions", "end", rows[0]["id"], seconds=60)
        assert done.ok, done
        assert session.wait(20).code == 255
    with cluster.at(there)[0].open_shell("alice", ann.key) as session:
        cluster.revoke(here, ann)
        assert session.wait(20).code == 255


def test_a_code_is_good_once_whichever_broker_it_is_typed_at_first(cluster, tmp_path):
    ben = cluster.person("ben")
    second = KeyPair.generate(tmp_path, "second")
    added = cluster.first.by(ben, "key", "add", "second", stdin=second.public + "\n")
    if not added.ok:  # it wants a code that was typed lately
        assert cluster.first.by(ben, "unlock").ok
        added = cluster.first.by(ben, "key", "add", "second", stdin=second.public + "\n")
    assert added.ok, added
    assert cluster.first.by(ben, "lock").ok
    code = ben.totp.code()
    with ThreadPoolExecutor(2) as pool:
        tries = [pool.submit(broker.ssh, "ben", key, "status", code=[code])
                 for broker, key in zip(cluster.brokers, (ben.key, second))]
        assert sorted(one.result().ok for one in tries) == [False, True], [one.result() for one in tries]


def test_a_broker_is_killed(cluster):
    fallen = cluster.brokers[1]
    cid = cluster.person("cid")
    vm = cluster.bring_to(fallen)
    assert_in(cluster.login(vm, cid), cluster.scene.login)
    with issuing(cluster.brokers, cid) as (certificates, _):
        wait_for(lambda: len(certificates) >= 3, 30, "certificates")
        fallen.kill()
        assert_in(cluster.login(vm, cid), cluster.scene.login)
        cluster.await_away_from(fallen)
        assert_in(cluster.login(vm, cid), cluster.scene.login)
    assert_one_line(fallen.by(cid, "cert"))
    cluster.revoke(cluster.brokers[2], cid)
    fallen.start()
    refused = fallen.by(cid, "cert", "--new")
    assert not refused.ok and not CERTIFICATE.search(refused.out), refused
    cluster.check_ledger(certificates)


def test_postgresql_is_killed_and_comes_back(cluster):
    dan = cluster.person("dan")
    for vm in cluster.vms:
        assert_in(cluster.login(vm, dan), cluster.scene.login)
    with issuing(cluster.brokers, dan) as (certificates, failures):
        wait_for(lambda: len(certificates) >= 3, 30, "certificates")
        cluster.postgres.kill()
        wait_for(lambda: len(failures) >= 3, 30, "people to hear of it")
        for vm in cluster.vms:  # what they hold they serve
            assert_in(cluster.login(vm, dan), cluster.scene.login)
        for failure in list(failures):
            assert_one_line(failure)
        cluster.postgres.serve()
        for broker in cluster.brokers:  # each by itself, after a pause of its own
            wait_for(lambda at=broker: at.by(dan, "cert", "--new", seconds=60).ok, 60,
                     lambda: f"certificates again: {failures[-1]}")
    cluster.await_connected()
    cluster.revoke(cluster.brokers[1], dan)
    cluster.check_ledger(certificates)


def test_a_broker_is_cut_off_from_the_database(cluster):
    if cluster.island is None:
        pytest.skip(f"no network namespace can be made here: {cluster.why_no_island}")
    alone = cluster.brokers[2]
    eve = cluster.person("eve")
    vm = cluster.bring_to(alone)
    assert_in(cluster.login(vm, eve), cluster.scene.login)
    with issuing([alone], eve) as (certificates, failures):
        wait_for(lambda: certificates, 30, "a certificate")
        cluster.island.cut()
        try:
            cluster.revoke(cluster.first, eve)  # also where that VM has not left the one that cannot hear of it
            assert cluster.where(vm) != alone.hub_address
            wait_for(lambda: failures, 60, "people to hear of it")
        finally:
            cluster.island.mend()
    for failure in failures:
        assert_one_line(failure)
    refused = wait_for(lambda: _answer(alone, eve), 60, "the broker to see the database again")
    assert not refused.ok and not CERTIFICATE.search(refused.out), refused
    cluster.check_ledger(certificates)


def _answer(broker, person):
    """What the broker says to this person, once it can say anything: an admin is served."""
    return broker.by(broker.admin, "status").ok and broker.by(person, "cert", "--new")


def test_a_broker_that_stood_still_issues_nothing_by_what_it_knew(cluster):
    still = cluster.brokers[1]
    fay = cluster.person("fay")
    vm = cluster.bring_to(still)
    assert_in(cluster.login(vm, fay), cluster.scene.login)
    with issuing([still], fay) as (certificates, _):
        wait_for(lambda: certificates, 30, "a certificate")
        begin = time.monotonic()
        os.kill(still.daemon.pid, signal.SIGSTOP)
        try:
            cluster.revoke(cluster.first, fay)
            assert cluster.where(vm) != still.hub_address
            before = len(certificates)
            time.sleep(max(0.0, PAUSE - (time.monotonic() - begin)))  # the pause itself is the test
        finally:
            os.kill(still.daemon.pid, signal.SIGCONT)
        refused = still.by(fay, "cert", "--new", seconds=60)
        assert not refused.ok and not CERTIFICATE.search(refused.out), refused
    assert len(certificates) <= before + 1, "more came out than was under way when it stopped"
    for vm in cluster.vms:
        assert_out(cluster.login(vm, fay))
    cluster.await_connected()
    cluster.check_ledger(certificates)
