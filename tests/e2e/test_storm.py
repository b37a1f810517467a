# SPDX-License-Identifier: Apache-2.0
"""A login storm at the door, strangers flooding it meanwhile: users get through, strangers get nothing.

LATCHKEY_STORM_USERS: how many users come (default 20); it prints how long each took.
"""

import os
import selectors
import socket
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support import exposition
from support.broker import INVITE, SECRET, Person
from support.keys import KeyPair
from support.totp import Totp
from support.wait import wait_for

pytestmark = pytest.mark.local_only  # strangers come from many addresses of 127/8
USERS = int(os.environ.get("LATCHKEY_STORM_USERS", "20"))
AT_ONCE = 8
TRIES = 3  # as people do
STRANGERS = 200
PLACES = 24  # fewer than strangers: they are in the way
HALF_A_HANDSHAKE = b"SSH-2.0-OpenSSH_9.2\r\n" + b"\x00\x00\x01\x00\x0a\x14" + bytes(40)
WORDS = (b"", b"SSH-2.0-OpenSSH_9.2\r\n", HALF_A_HANDSHAKE)


class Flood:
    """Connections from many addresses of 127/8, two in three from one of them; one that is cut comes again."""

    def __init__(self, address, port):
        self.to = (address, port)
        self.came = 0
        self._is_over = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._run, name="flood", daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        self._thread.join(30)

    def _come(self):
        number = self.came
        self.came += 1
        client = socket.socket()
        client.setblocking(False)
        client.bind((f"127.66.{number // 250 % 250}.{number % 250 + 1}" if number % 3 == 0 else "127.77.7.7", 0))
        client.connect_ex(self.to)
        self._selector.register(client, selectors.EVENT_READ | selectors.EVENT_WRITE, WORDS[number // 3 % 3])

    def _run(self):
        for _ in range(STRANGERS):
            self._come()
        while not self._is_over.is_set():
            for key, ready in self._selector.select(0.2):
                try:
                    if ready & selectors.EVENT_WRITE:
                        key.fileobj.send(key.data)
                        self._selector.modify(key.fileobj, selectors.EVENT_READ)
                    elif not key.fileobj.recv(4096):
                        raise ConnectionError
                except OSError:
                    self._selector.unregister(key.fileobj)
                    key.fileobj.close()
                    self._come()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()


def join(broker, name, invite):
    """From the first connection to the open unlock, as a person sees it; the seconds of each try."""
    person = Person(name, KeyPair.generate(broker.folder, f"key-{name}"))

    def answer(prompt, session):
        if "invite" in prompt.lower():
            return invite
        return Totp(session.expect(SECRET, stream="all")[1]).code()

    tries = []
    while len(tries) < TRIES:
        began = time.monotonic()
        done = broker.ssh("join", person.key, code=answer, seconds=60)
        tries.append(time.monotonic() - began)
        if done.ok:
            return person, tries
    raise AssertionError(f"{name} did not get in: {done.err}")


def test_users_get_through_a_storm_with_strangers_at_the_door(new_broker, new_key):
    broker = new_broker(door={"max_unauthenticated": PLACES, "login_grace_seconds": 60})
    port = broker.network.free_port()
    broker.stop()
    with open(broker.config, "a", encoding="utf-8") as config:
        config.write(f'\n[metrics]\nlisten = "127.0.0.1:{port}"\n')
    broker.start()
    broker.as_admin("group", "add", "demo")
    broker.as_admin("grant", "add", "--group", "demo", "--vm", "*", "--login", "deploy")
    names = [f"user{number}" for number in range(USERS)]

    def invite(name):
        return INVITE.search(broker.as_admin("user", "add", name, "--email", f"{name}@example.org", "--group", "demo"))[1]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        invites = list(pool.map(invite, names))
        with Flood(broker.address, broker.door_port):
            wait_for(lambda: exposition.scrape(port)["latchkey_door_lobby_connections"].sum() > 0, 30,
                     "strangers to wait")
            began = time.monotonic()
            joined = list(pool.map(lambda pair: join(broker, *pair), zip(names, invites, strict=True)))
            took = time.monotonic() - began
            figures = exposition.scrape(port)
            threads = len(list(Path(f"/proc/{broker.daemon.pid}/task").iterdir()))
            stranger = broker.ssh(names[0], new_key("stranger"), "whoami")

    certificate = broker.by(joined[0][0], "cert")
    assert certificate.ok and certificate.out.startswith("ssh-ed25519-cert-v01@openssh.com "), certificate.err
    assert not stranger.ok
    assert figures["latchkey_door_refusals_total"].sum(reason="cut") > 0
    assert figures["latchkey_door_unauthenticated_connections"].sum() <= PLACES
    assert threads < PLACES + 2 * AT_ONCE + 64  # a stranger that waits has none
    seconds = sorted(tries[-1] for _, tries in joined)
    print(f"\n{USERS} users in {took:.1f} s: p50 {statistics.median(seconds):.2f} s, p99 "
          f"{seconds[int(len(seconds) * 0.99)]:.2f} s; tried again: {sum(len(tries) - 1 for _, tries in joined)}; "
          f"broker's CPU {figures['process_cpu_seconds_total'].sum():.1f} s, {threads} threads")
