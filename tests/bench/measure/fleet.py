# SPDX-License-Identifier: Apache-2.0
"""A broker and thousands of VMs that have joined it. Row 8: how soon all are told of a revocation, and have answered.
Row 10: what an idle agent costs the hub's memory. Row 11: all come back after a restart, while people log in."""

import contextlib
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import threading
import time
from pathlib import Path

from support.keys import KeyPair

from .network import is_private
from .processes import cpu_seconds, pss_kib, tree
from .programs import BENCH, sized
from .stand import made_up_keys, new_stand
from .table import Figure

LARGE = int(os.environ.get("LATCHKEY_BENCH_AGENTS", sized(10_000, 10)))
SMALL = min(2000, LARGE)
PATIENCE = 180  # seconds, for one line
AGENTS_A_PROCESS = 2500  # two descriptors each
HOSTS = 60  # addresses over which the agents spread, where the network is ours
FANOUT_ROUNDS = sized(11, 1)
RECEIPT_ROUNDS = sized(5, 1)
LOGIN_SECONDS = sized(5, 0.5)
PEOPLE = 32  # one is revoked each round
HUB_CORE, AGENTS_CORE = 0, 1


class Talker:
    """A program that answers lines on stdin with lines on stdout."""

    def __init__(self, stand, *argv, core=None):
        pin = ["taskset", "-c", str(core)] if core is not None else []
        self.process = subprocess.Popen([*pin, *(str(word) for word in argv)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        stand.place.started(self.process.pid)

    def ask(self, line=""):
        self.tell(line)
        return self.line()

    def tell(self, line=""):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def line(self):
        patience = threading.Timer(PATIENCE, self.process.kill)
        patience.start()
        line = self.process.stdout.readline()
        patience.cancel()
        if not line:
            raise RuntimeError(f"{self.process.args}: ended with {self.process.wait()}")
        return line.strip()

    def close(self):
        self.process.kill()
        self.process.wait()


class Fleet:
    """`stand`'s broker with `count` VMs in its ledger, whose state folders lie in memory, as disks of their own would
    not keep each other waiting."""

    def __init__(self, stand, count, cleanup):
        self.stand = stand
        self.count = count
        self.owner = KeyPair.generate(stand.place.folder("owner"))  # bench-0, who logs in at the door
        self.folder = Path(f"/dev/shm/latchkey-bench-{os.getpid()}")
        cleanup.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.cleanup = cleanup

    def prepare(self, others):
        """Everything in the ledger; the broker runs afterwards. `others`: keys of people who are to be revoked."""
        stand = self.stand
        broker = stand.broker
        text = broker.config.read_text(encoding="utf-8")
        here = f"{broker.address}:{broker.hub_port}"
        broker.config.write_text(text.replace(
            f'[hub]\nlisten = "{here}"', f'[hub]\nlisten = "0.0.0.0:{broker.hub_port}"\naddress = "{here}"'), encoding="utf-8")
        stand.prepare([self.owner.public, *others])
        self.folder.mkdir()
        shutil.chown(self.folder, stand.place.account("broker"))
        stand.as_broker("seed_fleet", broker.config, self.folder, self.count, HOSTS if is_private() else 0)
        subprocess.run(["chown", "-R", "root:root", self.folder], check=True, stdin=subprocess.DEVNULL)
        stand.start()
        return self

    def agents(self, count):
        """Real agents, all of which serve when this returns."""
        shards = [Talker(self.stand, BENCH / "agents", self.folder, first, min(AGENTS_A_PROCESS, count - first))
                  for first in range(0, count, AGENTS_A_PROCESS)]
        for shard in shards:
            self.cleanup.callback(shard.close)
        agents = Agents(shards, count)
        agents.await_served(1)
        return agents

    @contextlib.contextmanager
    def listeners(self, count, bare=None):
        """Agents that only listen, at this broker or at a bare hub."""
        where = bare.split() if bare else []
        talker = Talker(self.stand, BENCH / "listeners", self.folder, 0, count, *where, core=AGENTS_CORE)
        try:
            yield talker
        finally:
            talker.close()

    def revoke_someone(self, number, wait="1s"):  # listeners give no receipts
        """What the broker says of it, and when it was made, just before its commit, in seconds since 1970."""
        words = ["revoke", "user", f"bench-{number}", "--reason", "bench", "--json", "--wait", wait]
        done = self.stand.broker.by(self.stand.broker.admin, *words)
        said = json.loads(done.out)
        return said, self._one("select made_at from revocations where epoch = ?", said["epoch"]) / 1e6

    def last_receipt(self, epoch):
        """How many are recorded, and when the last of them came."""
        count = self._one("select count(*) from receipts where epoch = ?", epoch)
        return count, self._one("select max(received_at) from receipts where epoch = ?", epoch) / 1e6

    def _one(self, query, *values):
        with contextlib.closing(sqlite3.connect(f"file:{self.stand.broker.database()}?mode=ro", uri=True)) as ledger:
            return ledger.execute(query, values).fetchone()[0]


class Agents:
    def __init__(self, shards, count):
        self.shards = shards
        self.count = count

    def await_served(self, times):
        """When the last agent began to serve for the `times`th time."""
        sizes = [min(AGENTS_A_PROCESS, self.count - first) for first in range(0, self.count, AGENTS_A_PROCESS)]
        for shard, size in zip(self.shards, sizes):
            shard.tell(f"wait {size * times}")
        return max(float(shard.line()) for shard in self.shards)


@contextlib.contextmanager
def new_fleet(count, **hub):
    with new_stand(hub) as stand, contextlib.ExitStack() as cleanup:
        yield Fleet(stand, count, cleanup).prepare(made_up_keys(PEOPLE))


def measure(rows):
    figures = []
    if rows & {"8", "10"}:
        with new_fleet(LARGE, heartbeat_seconds=60) as fleet:  # listeners send none
            figures += told_and_memory(fleet, rows)
    if rows & {"8", "11"}:
        with new_fleet(LARGE) as fleet:
            figures += answered_and_back(fleet, rows)
    return sorted(figures, key=lambda figure: int(figure.row))


def told_and_memory(fleet, rows):
    """Bare hub and broker in turn: both on one core, the same listeners on the other."""
    figures = []
    number = 1
    for count in sorted({SMALL, LARGE}):
        bare_last, bare = _bare_fanout(fleet, count)
        broker = fleet.stand.broker
        os_pin(broker.daemon.pid, HUB_CORE)
        before = pss_kib(broker.daemon.pid)
        with fleet.listeners(count) as talker:
            talker.line()
            memory = (pss_kib(broker.daemon.pid) - before) / count
            last = []
            for _ in range(FANOUT_ROUNDS):
                talker.tell()
                _, made = fleet.revoke_someone(number)
                number += 1
                last.append(json.loads(talker.line())["last"] - made)
        os_pin(broker.daemon.pid, None)
        ours = statistics.median(last)
        if "8" in rows:
            figures.append(Figure.at_most(
                "8", f"a revocation, commit to the last of {count:,} agents told, beside bare TLS writes",
                f"{ours * 1e3:.0f} ms", f"{bare_last * 1e3:.0f} ms", ours / bare_last, 2))
    if "10" in rows:
        figures.append(Figure.at_most("10", f"the hub's memory for each of {count:,} idle agents, beside OpenSSL alone",
                                      f"{memory:.1f} KiB", f"{bare['kib']:.1f} KiB", memory / bare["kib"], 2))
    return figures


def _bare_fanout(fleet, count):
    """The median time from the first write to the last listener, and what the bare hub says of itself."""
    bare = Talker(fleet.stand, BENCH / "bare_hub", count, core=HUB_CORE)
    try:
        with fleet.listeners(count, bare.line()) as talker:
            said = json.loads(bare.line())
            talker.line()
            last = []
            for _ in range(FANOUT_ROUNDS):
                talker.tell()
                began = float(bare.ask())
                last.append(json.loads(talker.line())["last"] - began)
    finally:
        bare.close()
    return statistics.median(last), said


def os_pin(pid, core):
    """All threads of a process and of its children to one core, or to all."""
    cores = str(core) if core is not None else f"0-{os.cpu_count() - 1}"
    for one in tree(pid):
        subprocess.run(["taskset", "-a", "-c", "-p", cores, str(one)], check=True, stdin=subprocess.DEVNULL,
                       capture_output=True)


def answered_and_back(fleet, rows):
    agents = fleet.agents(LARGE)
    figures = []
    if "8" in rows:
        took = []
        for number in range(1, RECEIPT_ROUNDS + 1):
            said, made = fleet.revoke_someone(number, wait="60s")
            count, last = fleet.last_receipt(said["epoch"])
            if count != LARGE:
                raise RuntimeError(f"{count} receipts of {LARGE}: {said}")
            took.append(last - made)
        figures.append(Figure.seconds(
            "8", f"a revocation, commit to the last of {LARGE:,} receipts recorded; all agents on this machine",
            statistics.median(took), 2))
    if "11" in rows:
        figures += back_after_restart(fleet, agents)
    return figures


def back_after_restart(fleet, agents):
    with fleet_floor(fleet) as bare:
        floor = bare["cpu_us"]
    broker = fleet.stand.broker
    alone = Logins(fleet)
    alone.run_for(LOGIN_SECONDS)
    broker.stop()
    broker.start()
    meanwhile = Logins(fleet)
    thread = threading.Thread(target=meanwhile.run_until_told, daemon=True)
    began = time.time()
    thread.start()
    last = agents.await_served(2)
    meanwhile.is_over = True
    thread.join()
    ours = cpu_seconds(tree(broker.daemon.pid)) - meanwhile.cpu_estimate(alone)
    each = ours * 1e6 / agents.count
    return [
        Figure.at_most("11", f"{agents.count:,} agents come back after a restart (in {last - began:.0f} s): "
                             "the broker's CPU for each, beside a bare handshake", f"{each:.0f} us", f"{floor:.0f} us",
                       each / floor, 1.5),
        Figure("11", f"{len(meanwhile.took)} `ssh broker cert` meanwhile, p99, beside the same before",
               f"{meanwhile.at(0.99) * 1e3:.0f} ms", f"{alone.at(0.99) * 1e3:.0f} ms",
               f"{meanwhile.failed} failed", "served", meanwhile.failed == 0),
    ]


@contextlib.contextmanager
def fleet_floor(fleet):
    bare = Talker(fleet.stand, BENCH / "bare_hub", SMALL, core=HUB_CORE)
    try:
        with fleet.listeners(SMALL, bare.line()):
            yield json.loads(bare.line())
    finally:
        bare.close()


class Logins:
    """One person's `ssh broker cert`, one after the other."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.took = []
        self.failed = 0
        self.is_over = False
        self.cpu = 0.0

    def one(self):
        began = time.monotonic()
        done = self.fleet.stand.broker.ssh("bench-0", self.fleet.owner, "cert")
        self.took.append(time.monotonic() - began)
        self.failed += not done.ok

    def run_for(self, seconds):
        pids = tree(self.fleet.stand.broker.daemon.pid)
        before = cpu_seconds(pids)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.one()
        self.cpu = cpu_seconds(pids) - before

    def run_until_told(self):
        while not self.is_over:
            self.one()

    def cpu_estimate(self, alone):
        """What these logins cost the broker, by what they cost when nothing else went on."""
        return len(self.took) * alone.cpu / len(alone.took)

    def at(self, share):
        ordered = sorted(self.took)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
