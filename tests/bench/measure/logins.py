# SPDX-License-Identifier: Apache-2.0
"""Rows 4 to 7: what a login costs with the helper (grant cached, grant fetched), with the PAM module, and beside a
million revocations."""

import contextlib
import itertools
import shutil
import statistics
import struct
import subprocess
import sys

from support.keys import KeyPair

from .programs import BENCH, run_json, sized
from .sshds import WARM_UP, Sshds, Variant
from .stand import new_stand
from .table import Figure, paired

ROUNDS = sized(120, 1)
SPAWN_ROUNDS = sized(400, 5)
REVOCATIONS = sized(1_000_000, 1_000)


def measure(rows):
    """The figures of those of the rows 4 to 7 that are in `rows`."""
    with new_stand() as stand, contextlib.ExitStack() as cleanup:
        bench = Bench(stand, cleanup, "7" in rows)
        figures = bench.spawned() if "4" in rows else []
        plain, *others = bench.variants()
        variants = [variant for variant in (plain, *others) if rows & variant.rows]
        bench.sshds.choose_file(plain)
        print(f"sshd pads each attempt to {bench.sshds.delay} ms", file=sys.stderr)
        for variant in variants:
            bench.sshds.start(variant)
        bench.sshds.measure(variants, ROUNDS)
        by_name = {variant.name: variant for variant in variants}
        if "4" in rows:
            figures += cached(by_name)
        if "5" in rows:
            figures += fetched(by_name)
        if "6" in rows:
            figures += pam(by_name)
        if "7" in rows:
            figures.append(compare("7", f"a login beside {REVOCATIONS:,} revocations in the agent, beside none",
                                   by_name["revocations"].wall, by_name["cached"].wall, 1))
        return figures


def cached(by_name):
    plain, again, floor, ours = (by_name[name] for name in ("plain", "plain-again", "floor", "cached"))
    noise, _ = paired(again.wall, plain.wall)
    least, _ = paired(floor.wall, plain.wall)
    return [
        compare("4", "helper, grant cached: the signed attempt inside sshd, beside a static C helper",
                ours.attempt, floor.attempt, 0.5),
        compare("4", f"helper, grant cached: a login, beside plain keys (again: {noise:+.1f}, static C: {least:+.1f})",
                ours.wall, plain.wall, 1, both_ways=True),
    ]


def fetched(by_name):
    ours, floor = by_name["fetched"], by_name["floor"]
    return [
        compare("5", "helper, grant fetched: the attempt that fetches, beside a static C helper",
                ours.query, floor.query, 5),
        compare("5", "helper, grant fetched: the signed attempt after it", ours.attempt, floor.attempt, 5),
    ]


def pam(by_name):
    return [compare("6", "PAM account and session: a login, beside pam_permit", by_name["pam"].wall,
                    by_name["pam-permit"].wall, 1)]


def compare(row, what, ours, floor, budget, both_ways=False):
    difference, interval = paired(ours, floor)
    return Figure.within(row, what, statistics.median(ours), statistics.median(floor), difference, interval, budget,
                         both_ways)


class Bench:
    def __init__(self, stand, cleanup, has_revocations):
        self.stand = stand
        self.folder = stand.place.folder("helpers")
        self.usual = KeyPair.generate(self.folder, "usual")
        # Each is fetched once: a grant for it is in no cache.
        self.fresh = [KeyPair.generate(self.folder, f"fresh-{number}") for number in range(ROUNDS + WARM_UP)]
        stand.start_broker([key.public for key in (self.usual, *self.fresh)])
        self.vm = stand.start_vm()
        self.burdened = stand.start_burdened_vm(REVOCATIONS) if has_revocations else None
        self.helper = self.vm.folder / "latchkey-authorized-keys"
        self.floor_program = self.folder / "floor_helper"
        shutil.copy2(BENCH / "floor_helper", self.floor_program)
        keys = self.folder / "authorized_keys"
        keys.write_text(self.usual.public + "\n", encoding="utf-8")
        self.authorized_keys = keys
        self.cleanup = cleanup
        self.floor_socket = self._serve("floor.sock", keys)
        self.sshds = Sshds(stand.place, stand.login)
        cleanup.callback(self.sshds.close)

    def _serve(self, name, file):
        """The socket of a server with one answer for all, until the end."""
        socket = self.folder / name
        server = subprocess.Popen([self.floor_program, "serve", socket, file], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, text=True)
        self.stand.place.started(server.pid)
        self.cleanup.callback(server.wait)
        self.cleanup.callback(server.kill)
        if server.stdout.readline() != "ready\n":
            raise RuntimeError("floor_helper does not serve")
        return socket

    def variants(self):
        helper_user = self.stand.place.account("akc")
        command = ["AuthorizedKeysFile none", f"AuthorizedKeysCommandUser {helper_user}"]
        ours = [*command, self._helper_line(self.vm)]
        floor = [*command, f"AuthorizedKeysCommand {self.floor_program} {self.floor_socket} %u"]
        plain = [f"AuthorizedKeysFile {self.authorized_keys}"]
        module = (f"required {self.vm.folder}/pam_latchkey.so socket={self.vm.socket} "
                  f"managed={self.vm.folder}/agent-state/managed-logins scope=optional")
        usual = itertools.repeat(self.usual)
        return [
            Variant({"4"}, "plain", plain, usual),
            Variant({"4"}, "plain-again", plain, usual),
            Variant({"4", "5"}, "floor", floor, usual),
            Variant({"4", "7"}, "cached", ours, usual),
            *([Variant({"7"}, "revocations", [*command, self._helper_line(self.burdened)], usual)] if self.burdened else []),
            Variant({"5"}, "fetched", ours, iter(self.fresh)),
            Variant({"6"}, "pam-permit", ours, usual, pam=[]),
            Variant({"6"}, "pam", ours, usual, pam=[f"account {module}", f"session {module}"]),
        ]

    def _helper_line(self, vm):
        return f"AuthorizedKeysCommand {self.helper} --socket {vm.socket} %u %t %k %f"

    def spawned(self):
        """The helper alone, from exec to exit. The agent answers nobody who is not sshd's child, so what it would
        answer from its cache comes from the same server as the floor's."""
        line = f"restrict,pty,port-forwarding {self.usual.public}"
        answer = self.folder / "answer"
        answer.write_bytes(authorized_frame([line.encode()]))
        kind, blob = self.usual.public.split()[:2]
        ours, floor = run_json(
            BENCH / "spawn_cost", SPAWN_ROUNDS,
            "--", self.helper, "--socket", self._serve("answer.sock", answer), self.stand.login, kind, blob,
            self.usual.fingerprint,
            "--", self.floor_program, self.floor_socket, self.stand.login)
        return [Figure.at_most("4", "helper, grant cached: exec to exit, beside a static C program", f"{ours:.0f} us",
                               f"{floor:.0f} us", ours / floor, 2)]


def authorized_frame(lines):
    """The local protocol's Authorized: uint32 length, byte type, list of lines, reason, no extensions."""
    def string(data):
        return struct.pack(">I", len(data)) + data

    fields = struct.pack(">I", len(lines)) + b"".join(map(string, lines)) + string(b"") + struct.pack(">I", 0)
    return struct.pack(">IB", 1 + len(fields), 11) + fields
