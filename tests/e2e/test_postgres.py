# SPDX-License-Identifier: Apache-2.0
"""The ledger on PostgreSQL: two roles, TLS that is checked, an attacker who may write every table, and a server that dies."""

import json
import os
import signal
import subprocess

import pytest
from scene import Scene, assert_in, assert_out
from support.broker import Broker
from support.network import Network
from support.postgres import Postgres, programs
from support.wait import wait_for

pytestmark = pytest.mark.local_only


def store(url, **settings):
    return {"plugin": "postgres", "url": url, **settings}


@pytest.fixture(scope="module")
def server(run_place):
    if programs() is None:
        (pytest.fail if os.environ.get("LATCHKEY_REQUIRE_LAB") else pytest.skip)("PostgreSQL's server is not installed")
    server = Postgres(run_place).start()
    yield server
    server.stop()


# --- Two roles, and a server that dies -------------------------------------------------------------------------------


def test_a_broker_serves_by_a_role_that_cannot_change_the_schema_and_outlives_its_database(server, place, build, new_vm):
    server.make_database("two_roles")
    owner = Broker(place, build, Network(), name="owner", store=store(server.url("two_roles_owner", "two_roles")))
    broker = Broker(place, build, Network(), store=store(server.url("two_roles", "two_roles")))
    refused = broker.latchkeyd("migrate")
    assert refused.code == 2 and "names the role which owns the database" in refused.err, refused.err
    assert owner.latchkeyd("migrate").ok
    broker.init().start()
    try:
        scene = Scene(broker, new_vm(name="vm-one"))
        ann = scene.person("ann")
        assert_in(scene.plain(ann), scene.login)
        with pytest.raises(RuntimeError, match="permission denied|must be owner"):
            server.sql("ALTER TABLE users ADD COLUMN more TEXT", "two_roles", "two_roles")

        server.kill()
        assert_in(scene.plain(ann), scene.login)  # under the grant that the VM holds
        refused = broker.by(ann, "cert", code=None)
        assert not refused.ok
        server.serve()
        done = wait_for(lambda: (lambda got: got if got.ok else None)(broker.by(ann, "cert", "--new")), 30,
                        "the broker to find its database again")
        assert "ssh-ed25519-cert" in done.out
        assert broker.by(broker.admin, "audit", "verify").ok
        assert_in(scene.plain(ann), scene.login)
    finally:
        broker.stop()


# --- TLS ----------------------------------------------------------------------------------------------------------------


class Authority:
    """A CA by openssl, and what it signs."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.certificate = folder / f"{name}.pem"
        self._openssl("req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", folder / f"{name}.key", "-out",
                      self.certificate, "-subj", f"/CN={name}", "-days", "30")

    def sign(self, to, host, at=None):
        """A certificate for `host` and its key, good for ten days from now or from the date `at`."""
        request = self.folder / "request.pem"
        self._openssl("req", "-newkey", "ed25519", "-nodes", "-keyout", f"{to}.key", "-out", request, "-subj", f"/CN={host}",
                      "-addext", f"subjectAltName=DNS:{host}")
        self._openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.folder / f"{self.name}.key",
                      "-out", f"{to}.pem", "-days", "10", "-copy_extensions", "copy",
                      before=["faketime", at] if at else [])
        for path in (f"{to}.key", f"{to}.pem"):
            subprocess.run(["chown", "postgres:", path], check=True)
            os.chmod(path, 0o600)

    @staticmethod
    def _openssl(*words, before=()):
        subprocess.run([*before, "openssl", *words], check=True, capture_output=True, stdin=subprocess.DEVNULL)


def test_a_server_is_refused_that_cannot_prove_its_name(place, build):
    if programs() is None:
        pytest.skip("PostgreSQL's server is not installed")
    port = Network().free_port()
    folder = place.folder("certificates")
    ours, other = Authority(folder, "ours"), Authority(folder, "other")
    current = folder / "current"
    ours.sign(current, "db.example.test")
    tls = Postgres(place, "postgres-tls", {"listen_addresses": "127.0.0.1", "port": port, "ssl": "on", "ssl_cert_file":
                                           f"{current}.pem", "ssl_key_file": f"{current}.key"}).start()
    try:
        tls.make_database("checked")
        made = iter(range(100))

        def migrate(host="db.example.test", authority=ours, **settings):
            url = f"host={host} hostaddr=127.0.0.1 port={port} dbname=checked user=checked_owner"
            how = store(url, **({"sslrootcert": str(authority.certificate)} if authority else {}), **settings)
            return Broker(place, build, Network(), name=f"checks-{next(made)}", store=how).latchkeyd("migrate")

        def refused(words, code=4, **how):
            done = migrate(**how)
            assert done.code == code, f"{done.code}: {done.err}"
            assert words in done.err and len(done.err.strip().splitlines()) == 1, done.err

        done = migrate()
        assert done.ok, done.err
        refused("does not match host name", host="db.example.com")
        refused("the server's certificate is refused", authority=other)
        refused("set sslrootcert", code=2, authority=None)
        ours.sign(current, "db.example.test", at="2020-01-01")
        tls.daemon.process.send_signal(signal.SIGHUP)  # it reads its certificate again
        wait_for(lambda: "has expired" in migrate().err, 30, "the expired certificate to be refused")
        refused("the server's certificate is refused: certificate has expired")
        ours.sign(current, "db.example.test")
        tls.daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: migrate().ok, 30, "the new certificate to be taken")
    finally:
        tls.stop()


# --- An attacker with SQL -----------------------------------------------------------------------------------------------


class Attacker:
    """Writes every table, as the brokers' own role. attack() does it, tries, and puts the rows back as they were."""

    def __init__(self, server, broker, database):
        self.server, self.broker, self.database = server, broker, database

    def sql(self, text):
        return self.server.sql(text, self.database, self.database)

    def attack(self, table, change, attempt):
        saved = self.server.sql(f"SELECT coalesce(json_agg(t), '[]') FROM {table} t", self.database)
        changed = self.sql(f"WITH done AS ({change} RETURNING 1) SELECT count(*) FROM done")
        assert int(changed) > 0, change
        attempt()
        wait_for(lambda: f"tampered table={table}" in self.broker.log_text(), 20, f"a report about {table}")
        quoted = saved.replace("'", "''")
        self.server.sql("SET session_replication_role = replica; BEGIN; "
                        f"DELETE FROM {table}; INSERT INTO {table} SELECT * FROM json_populate_recordset(null::{table}, "
                        f"'{quoted}'); COMMIT", self.database)


def test_an_attacker_who_writes_every_table_opens_nothing(server, place, build, new_vm, new_key):
    server.make_database("attacked")
    owner = Broker(place, build, Network(), name="owner", store=store(server.url("attacked_owner", "attacked")))
    assert owner.latchkeyd("migrate").ok
    broker = Broker(place, build, Network(), store=store(server.url("attacked", "attacked"))).init().start()
    try:
        scene = Scene(broker, new_vm(name="vm-one"))
        other = scene.vm.login("other")  # an account that no rule names
        ann, dan, gone = (scene.person(name) for name in ("ann", "dan", "gone"))
        eve = broker.enrol("eve")  # in no group
        for person in (ann, dan, gone):
            assert_in(scene.plain(person), scene.login)
        scene.lock(dan)
        broker.as_admin("revoke", "user", "gone", "--reason", "stolen", "--wait", "20s")
        wait_for(lambda: scene.plain(dan).code == 255, 20, "dan's lock to reach the VM")
        attacker = Attacker(server, broker, "attacked")
        ids = {name: attacker.sql(f"SELECT id FROM users WHERE name = '{name}'") for name in ("ann", "dan", "eve", "gone")}
        stranger = new_key("stranger")

        def is_out(person):
            assert_out(scene.plain(person))
            assert not broker.by(person, "cert", "--new", code=None).ok

        def no_wider_rule():
            assert_out(scene.vm.ssh("other", ann.key, "id -un"))
            assert not broker.by(ann, "cert", "--new").ok

        def still_revoked():
            assert_out(scene.plain(gone))
            assert json.loads(broker.as_admin("revoke", "ls", "--json"))["revocations"]

        def no_admin():
            done = broker.by(ann, "user", "ls")
            assert not done.ok and "gone" not in done.out, done.out

        attacker.attack("keys", f"UPDATE keys SET fingerprint = '{stranger.fingerprint}', key_blob = "
                        f"decode('{stranger.public.split()[1]}', 'base64') WHERE user_id = {ids['ann']}",
                        lambda: assert_out(scene.vm.ssh("alice", stranger, "id -un")))
        attacker.attack("rules", f"UPDATE rules SET logins = logins || ',{other}'", no_wider_rule)
        attacker.attack("members", f"UPDATE members SET user_id = {ids['eve']} WHERE user_id = {ids['ann']}", lambda: is_out(eve))
        attacker.attack("unlocks", "UPDATE unlocks SET ended_at = 0, ends_at = 9000000000000000 WHERE user_id = "
                        f"{ids['dan']}", lambda: is_out(dan))
        attacker.attack("users", f"UPDATE users SET state = 1, lock_reason = '' WHERE id = {ids['gone']}", lambda: is_out(gone))
        attacker.attack("users", f"UPDATE users SET role = 3 WHERE id = {ids['ann']}", no_admin)
        attacker.attack("revocations", "DELETE FROM revocations", still_revoked)
        attacker.attack("revocations", "UPDATE revocations SET kind = 'cert', text = '7', record = record || '\\x00'",
                        still_revoked)
        attacker.attack("vms", "INSERT INTO vms SELECT 7, version, 'forged', decode(repeat('07', 32), 'hex'), labels, state, "
                        "offline_grace_seconds, joined_at, mac, last_seen, confirmed_epoch, clock_offset_micros, software, "
                        "trouble FROM vms", lambda: _names_no_vm(broker, "forged"))
        assert_in(scene.plain(ann), scene.login)  # the rows as they were open what they did
        assert "row.tampered" in broker.as_admin("audit", "ls", "--json")
        assert broker.by(broker.admin, "audit", "verify").ok
    finally:
        broker.stop()


def _names_no_vm(broker, name):
    assert name not in broker.as_admin("vm", "ls")
