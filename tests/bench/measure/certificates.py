# SPDX-License-Identifier: Apache-2.0
"""Row 1: certificates made in process. Row 2: certificates issued by a running broker, each recorded first, on SQLite and
on PostgreSQL."""

import os
import re
import subprocess

from support.place import Place
from support.postgres import Postgres, programs

from .programs import BENCH, run_json, sized
from .stand import made_up_keys, new_stand
from .table import Figure

AGENTS = 16
ROUNDS = sized(5, 1)
KEYS = sized(16_000, 200)  # more than the rounds can use up
COMMITS = sized(2000, 5)  # of each client


def in_process():
    found = run_json(BENCH / "certificate_rate", sized(40, 1), core=0)
    return [Figure.at_least(
        "1", "certificates in process, one core, beside bare ed25519 signatures",
        f"{found['certificates_per_second']:,.0f}/s", f"{found['signatures_per_second']:,.0f}/s", found["ratio"], 0.85)]


def through_the_broker():
    return [_on_sqlite(), *([_on_postgres()] if programs() else [])]


def _issue(stand, floor_folder, count):
    fingerprints = stand.start_broker(made_up_keys(KEYS))
    lines = "\n".join([stand.token(AGENTS), *fingerprints]) + "\n"
    found = run_json(BENCH / "issue_rate", floor_folder, stand.login, AGENTS, ROUNDS, stdin=lines)
    if count() != found["issued"]:
        raise RuntimeError(f"{found['issued']} certificates were given out, {count()} are recorded")
    return found


def _on_sqlite():
    with new_stand() as stand:
        found = _issue(stand, stand.broker.folder, stand.certificates)
    floor = max(found["commits_one_writer"], found["commits_sharing"])
    return Figure.at_least(
        "2", f"issued and recorded through the broker, {AGENTS} agents at a time, SQLite, beside its commits",
        f"{found['issues_per_second']:,.0f}/s", f"{floor:,.0f}/s", found["ratio"], 0.4)


def _on_postgres():
    place = Place()
    server = Postgres(place, settings={"fsync": "on", "shared_buffers": "256MB"}).start()
    server.sql("CREATE DATABASE latchkey", database="postgres")
    with new_stand(place=place, store={"plugin": "postgres", "url": server.url()}) as stand:
        before = _commits(server)
        found = _issue(stand, "-", lambda: int(server.sql("SELECT count(*) FROM certificates")))
        floor = max(before, _commits(server))
        stand.broker.stop()
        server.stop()
    return Figure.at_least(
        "2", f"issued and recorded through the broker, {AGENTS} agents at a time, PostgreSQL, beside {AGENTS} clients' commits",
        f"{found['issues_per_second']:,.0f}/s", f"{floor:,.0f}/s", found["issues_per_second"] / floor, 0.4)


AUDIT_TABLE = """CREATE TABLE IF NOT EXISTS floor (sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(), actor text NOT NULL, vm text NOT NULL, serial bigint NOT NULL, body text NOT NULL);
    CREATE INDEX IF NOT EXISTS floor_vm ON floor (vm, at)"""
AUDIT_ROW = """\\set s random(1, 1000000000)
INSERT INTO floor (actor, vm, serial, body) VALUES ('alice@example.org', 'vm-1234', :s, repeat('x', 300));
"""


def _commits(server):
    """How many rows of 400 bytes as many clients commit a second, one row a commit, by PostgreSQL's own pgbench."""
    server.sql(AUDIT_TABLE, database="postgres")
    script = server.folder / "row.sql"
    script.write_text(AUDIT_ROW)
    script.chmod(0o644)
    done = subprocess.run([server.bin / "pgbench", "-n", "-M", "prepared", "-c", str(AGENTS), "-j", str(os.cpu_count()),
                           "-t", str(COMMITS), "-f", script, "-h", server.folder, "-p", server.port, "-U", "postgres",
                           "postgres"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    return float(re.search(r"^tps = ([\d.]+)", done.stdout, re.MULTILINE)[1])
