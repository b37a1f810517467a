# SPDX-License-Identifier: Apache-2.0
"""Revocations against logins that start at a random moment around them: none survives, none hangs.

LATCHKEY_RACE_ROUNDS: how many revocations (40 here, 500 by hand). LATCHKEY_RACE_SEED: the seed of an earlier run.
"""

import base64
import json
import os
import random
import threading
import time

import pytest
from scene import certificate_agent
from support.wait import wait_for
from team import committed_at, end_scene, figures, lab_scene

pytestmark = pytest.mark.xdist_group("race")

ROUNDS = int(os.environ.get("LATCHKEY_RACE_ROUNDS", "40"))
ACCOUNTS = 8  # so that many a login is its account's first, and logind still starts a user manager for it
RACERS = 2


class Racer:
    """One login in a thread of its own, from `delay` seconds on; `ended` is when its client was gone."""

    def __init__(self, scene, account, options, file, delay):
        self.session = None
        self.began = self.ended = None
        self.is_in = False
        self._arguments = (scene, account, options, file, delay)
        self.thread = threading.Thread(target=self._run, name="racer", daemon=True)
        self.thread.start()

    def _run(self):
        scene, account, options, file, delay = self._arguments
        time.sleep(delay)  # the random moment
        session = scene.vm.open_session(account, file, "echo begun && exec sleep 600", options=options)
        self.session = session
        session.process.wait()
        self.ended = time.time()
        self.is_in = "begun" in session.out

    def close(self):
        if self.session:
            self.session.close()
        self.thread.join(15)


@pytest.fixture(scope="module")
def shared(lab, run_place, build):
    scene = lab_scene(run_place, lab, build, "vm-race")
    for number in range(ACCOUNTS):
        scene.vm.login(f"racer{number}")
    logins = ",".join(f"racer{number}" for number in range(ACCOUNTS))
    scene.broker.as_admin("grant", "add", "--group", "demo", "--vm", "*", "--login", logins)
    wait_for(lambda: "racer0" in scene.vm.agent_status().get("managed_logins", []), 30, "the racers' accounts")
    yield scene
    end_scene(scene)


def serial_of(file):
    """The serial in an ed25519 certificate: after type, nonce and key, 8 bytes."""
    blob = base64.b64decode(file.read_text(encoding="utf-8").split()[1])
    at = 0
    for _ in range(3):
        at += 4 + int.from_bytes(blob[at:at + 4], "big")
    return str(int.from_bytes(blob[at:at + 8], "big"))


def one_round(scene, person, chance, span, folder, number):
    file = folder / f"cert-{number}"
    scene.broker.certificate(person, file)
    account = f"racer{number % ACCOUNTS}"
    racers = []
    with certificate_agent(person, file) as options:
        try:
            if number % 2:  # every other account has a session, and its manager, already
                racers.append(Racer(scene, account, options, file, 0))
                wait_for(lambda: racers[0].session and "begun" in racers[0].session.out, 30, "the steady session")
            racers += [Racer(scene, account, options, file, chance.uniform(0, span)) for _ in range(RACERS)]
            time.sleep(chance.uniform(0.2, 1.8) * span)  # the random moment
            done = scene.broker.by(scene.broker.admin, "revoke", "cert", serial_of(file), "--reason", "race", "--wait",
                                   "30s", "--json")
            assert done.ok, done.err
            commit = committed_at(scene, json.loads(done.out)["epoch"])
            wait_for(lambda: all(racer.ended for racer in racers), 30,
                     lambda: f"all clients to end: {[racer.session and racer.session.all for racer in racers]}")
            assert all(racer.session.process.returncode == 255 for racer in racers)
            return [racer.ended - commit if racer.is_in else None for racer in racers]
        finally:
            for racer in racers:
                racer.close()


def test_no_login_around_a_revocation_survives_it(shared, place, tmp_path):
    scene = shared
    person = scene.person("ann")
    other = scene.person("ben")
    seed = int(os.environ.get("LATCHKEY_RACE_SEED", random.randrange(2**32)))
    print(f"seed {seed}")
    chance = random.Random(seed)
    ends = []
    with scene.vm.open_shell("racer0", other.key) as bystander:
        began = time.monotonic()
        assert scene.vm.ssh("racer1", other.key, "true").ok
        span = time.monotonic() - began  # of a login, on this machine and its load
        for number in range(ROUNDS):
            if number % 100 == 99:
                code = scene.broker.admin.totp.code()  # good for 15 minutes of revoking
                scene.broker.as_admin("unlock", code=None, stdin=f"{code}\n")
            ends += one_round(scene, person, chance, span, tmp_path, number)
        assert bystander.running, "the session of another person on the same account was ended"
        assert [row["user"] for row in scene.admin_json("sessions", "ls")["sessions"]] == ["ben"]
        left = scene.vm.run("pgrep", "-fxc", "sleep 600", check=False).stdout.strip()
        assert left == "0", f"{left} processes of revoked sessions are left"
    cuts = [end for end in ends if end is not None]
    print(f"{ROUNDS} revocations against {len(ends)} logins of {span:.2f} s: {len(cuts)} sessions cut, "
          f"{len(ends) - len(cuts)} refused; commit to client cut off: {figures(cuts)}")
    assert len(cuts) > ROUNDS / 4 and len(cuts) < len(ends), "too few logins met their revocation to show anything"
