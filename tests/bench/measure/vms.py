# SPDX-License-Identifier: Apache-2.0
"""Row 9: from the commit of a revocation to the end of the session, as the client sees it. Row 12: what an agent that
holds 1,000 grants costs its VM while nothing happens."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

from support.keys import KeyPair
from support.place import descendants
from support.wait import wait_for

from .processes import pss_by_part, pss_kib, wake_ups
from .programs import sized
from .stand import made_up_keys, new_stand
from .table import Figure

CUTS = sized(60, 1)
GRANTS = sized(1000, 10)
IDLE_SECONDS = sized(30, 1)
SETTLING = sized(10, 0)  # seconds, until what the logins left to do is done
HEARTBEAT = 5


class Session:
    """A login that lasts until somebody ends it; `ended()` is when its client was gone, in seconds since 1970."""

    def __init__(self, stand, key):
        self.session = stand.vm.open_shell("bench", key)
        self._at = None
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self):
        self.session.process.wait()
        self._at = time.time()

    def ended(self):
        self._thread.join(30)
        self.session.close()
        if self._at is None:
            raise RuntimeError("a session was not cut")
        return self._at


def cut():
    with new_stand() as stand:
        folder = stand.place.folder("keys")
        usual = KeyPair.generate(folder, "usual")
        people = [KeyPair.generate(folder, f"person-{number}") for number in range(CUTS)]
        stand.start_broker([usual.public, *(key.public for key in people)])
        stand.start_vm()
        ours, floor = [], []
        for key in people:
            ours.append(_by_revocation(stand, key))
            floor.append(_by_hand(stand, usual))
    return [Figure.limit("9", "commit of `revoke` to the session cut, at the client, p99, no logind; beside kill -9 of sshd",
                         _at(ours, 0.99), _at(floor, 0.99), f"p50 {_at(ours, 0.5):.0f} ms", 100)]


def _by_revocation(stand, key):
    session = Session(stand, key)
    broker = stand.broker
    said = json.loads(broker.as_admin("revoke", "key", key.fingerprint, "--reason", "bench", "--json"))
    ended = session.ended()
    with contextlib.closing(sqlite3.connect(f"file:{broker.database()}?mode=ro", uri=True)) as ledger:
        made = ledger.execute("select made_at from revocations where epoch = ?", (said["epoch"],)).fetchone()[0]
    return (ended - made / 1e6) * 1e3


def _by_hand(stand, key):
    before = set(descendants(stand.vm.sshd.pid))
    session = Session(stand, key)
    processes = set(descendants(stand.vm.sshd.pid)) - before
    began = time.time()
    for pid in processes:
        os.kill(pid, signal.SIGKILL)
    return (session.ended() - began) * 1e3


def _at(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def idle_agent():
    keys = made_up_keys(GRANTS)
    with new_stand() as stand:
        fingerprints = stand.start_broker(keys)
        vm = stand.start_vm()
        wait_for(lambda: stand.login in vm.agent_status().get("managed_logins", []), 30, "the login to be managed")
        helper = Path(vm.folder / "latchkey-authorized-keys")
        for key, fingerprint in zip(keys, fingerprints):
            kind, blob = key.split()[:2]
            # By a parent of its own, as each login's: the agent holds 16 credentials of one.
            asked = ["sh", "-c", '"$@"; exit', "sh", helper, "--socket", vm.socket, stand.login, kind, blob, fingerprint]
            if not subprocess.run(asked, stdin=subprocess.DEVNULL, capture_output=True, check=False).stdout:
                raise RuntimeError(f"no grant for {fingerprint}; the agent's log: {vm.agent_log()[-2000:]}")
        held = vm.agent_status()["cached_grants"]
        if held != GRANTS:
            raise RuntimeError(f"the agent holds {held} grants")
        time.sleep(SETTLING)
        agent, sshd = vm.agent.pid, vm.sshd.pid
        before = wake_ups(agent)
        time.sleep(IDLE_SECONDS)
        wakes = (wake_ups(agent) - before) / (IDLE_SECONDS / HEARTBEAT)
        ours, floor = pss_kib(agent), pss_kib(sshd)
        for name, pid in ("agent", agent), ("sshd", sshd):
            print(f"{name}, KiB:", *(f"{part} {kib}" for part, kib in pss_by_part(pid) if kib >= 16), sep="\n  ", file=sys.stderr)
    return [
        Figure.at_most("12", f"the agent's memory (PSS) with {GRANTS:,} grants, beside an idle sshd listener",
                       f"{ours:,} KiB", f"{floor:,} KiB", ours / floor, 1.5),
        Figure("12", "how often the agent wakes in one heartbeat: its own, the broker's, nothing more", f"{wakes:.1f}",
               "2", f"{wakes - 2:+.1f}", "<= +1", wakes <= 3),
    ]
