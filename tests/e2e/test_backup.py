# SPDX-License-Identifier: Apache-2.0
"""The ledger into a file and back, on a broker that is used: what a backup holds, what a restore refuses and means."""

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import threading

import pytest
from scene import Scene, assert_in, assert_out
from support.postgres import Postgres, programs
from support.wait import wait_for

pytestmark = pytest.mark.local_only
LOST_AT_MOST = 1_000_000  # epochs: docs/backup.md


def folder_for_backups(broker, name="backups"):
    folder = broker.folder / name
    folder.mkdir()
    state = broker.folder / "state"
    shutil.chown(folder, state.owner(), state.group())
    return folder


def lose_the_database(broker):
    for suffix in ("", "-wal", "-shm"):
        (broker.folder / "state" / f"ledger.db{suffix}").unlink(missing_ok=True)


def refused(done, word, code):
    assert done.code == code and word in done.err and done.err.count("\n") == 1, done


def test_a_backup_while_issuing_brings_a_killed_broker_back_and_no_revocation_undone(broker, new_vm):
    scene = Scene(broker, new_vm(name="vm-one"))
    ann = scene.person("ann")
    folder = folder_for_backups(broker)
    file = folder / "today.db"
    issuing = [threading.Thread(target=broker.by, args=(ann, "cert", "--new")) for _ in range(4)]
    for one in issuing:
        one.start()
    done = broker.latchkeyd("backup", file)
    for one in issuing:
        one.join()
    assert done.ok and "epoch 0" in done.out, done
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(folder) == ["today.db"]
    refused(broker.latchkeyd("backup", file), "already", 1)
    assert_in(scene.plain(ann), scene.login)

    # The backup does not know of this one. VMs do.
    broker.as_admin("revoke", "user", "ann", "--reason", "left", "--wait", "15s")
    assert_out(scene.plain(ann))
    refused(broker.latchkeyd("restore", file, "--revoke-all"), "a broker runs", 1)
    broker.kill()
    refused(broker.latchkeyd("restore", file, "--revoke-all"), "not empty", 1)
    lose_the_database(broker)
    refused(broker.latchkeyd("restore", file), "--revoke-all", 2)
    short = folder / "short.db"
    short.write_bytes(file.read_bytes()[:-8192])
    shutil.chown(short, folder.owner(), folder.group())
    refused(broker.latchkeyd("restore", short, "--revoke-all"), "cut short", 4)
    done = broker.latchkeyd("restore", file, "--revoke-all")
    assert done.ok and f"epoch {LOST_AT_MOST}" in done.out, done
    assert not [name for name in os.listdir(broker.folder / "state") if name.startswith("restore")]

    broker.start()
    wait_for(lambda: scene.vm.agent_status().get("epoch") == LOST_AT_MOST, 30, lambda: f"the VM to follow: {scene.vm.agent_status()}")
    assert scene.vm.agent_status()["trouble"] == ""
    assert_out(scene.plain(ann))  # what she was given is void, whatever the backup knows
    scene.unlock(ann)  # her account is open again: docs/backup.md says to look
    assert_in(scene.plain(ann), scene.login)
    assert broker.by(broker.admin, "audit", "verify").ok
    events = {row["action"] for row in json.loads(broker.as_admin("audit", "ls", "--json"))["events"]}
    assert {"ledger.restore", "ledger.revoke_all"} <= events
    broker.as_admin("revoke", "user", "ann", "--reason", "left", "--wait", "15s")
    assert_out(scene.plain(ann))


def test_a_ledger_that_was_not_used_since_moves_without_a_trace(new_broker):
    broker = new_broker()
    broker.as_admin("group", "add", "dev")
    broker.as_admin("revoke", "before", "1h", "--reason", "a test")
    broker.stop()
    file = folder_for_backups(broker) / "last.db"
    assert broker.latchkeyd("backup", file).ok
    lose_the_database(broker)
    key = broker.folder / "state" / "data.key"
    right = key.read_bytes()
    key.write_bytes(os.urandom(32))
    refused(broker.latchkeyd("restore", file, "--nothing-since"), "data key", 2)
    key.write_bytes(right)
    assert broker.latchkeyd("restore", file, "--nothing-since").ok

    broker.start()
    status = broker.by(broker.admin, "status", code=None)  # the unlock is still open
    assert status.ok, status
    assert [row["epoch"] for row in json.loads(broker.as_admin("revoke", "ls", "--json"))["revocations"]] == [1]
    assert broker.by(broker.admin, "audit", "verify").ok


def with_store(broker, name, lines):
    """The broker's configuration with another store."""
    file = broker.folder / f"{name}.toml"
    file.write_text(broker.config.read_text().replace("[store]\n", f"[store]\n{lines}\n"))
    return file


def latchkeyd(broker, *words):
    return subprocess.run([broker.build.program("latchkeyd"), *words], capture_output=True, text=True, check=False,
                          env=broker.environment, timeout=60)


def test_a_ledger_goes_to_postgres_is_served_backed_up_and_comes_back(new_broker, place):
    if programs() is None:
        (pytest.fail if os.environ.get("LATCHKEY_REQUIRE_LAB") else pytest.skip)("PostgreSQL's server is not installed")
    server = Postgres(place, "postgres-of-copies").start()
    broker = new_broker()
    try:
        server.make_database("moving")
        broker.as_admin("revoke", "before", "1h", "--reason", "a test")
        owner = with_store(broker, "owner", f'plugin = "postgres"\nurl = "{server.url("moving_owner", "moving")}"')
        there = with_store(broker, "there", f'plugin = "postgres"\nurl = "{server.url("moving", "moving")}"')
        back = with_store(broker, "back", f'path = "{broker.folder}/state/back.db"')
        copy = ("copy", "--from", broker.config, "--to", there)
        assert latchkeyd(broker, "migrate", "--config", owner).returncode == 0
        running = latchkeyd(broker, *copy)
        assert running.returncode == 1 and "a broker runs" in running.stderr, running
        broker.stop()
        done = latchkeyd(broker, *copy)  # by the role that may change rows alone
        assert done.returncode == 0 and "users 1\n" in done.stdout, done
        again = latchkeyd(broker, *copy)
        assert again.returncode == 1 and "not empty" in again.stderr, again

        broker.config.write_text(there.read_text())
        broker.start()
        assert broker.by(broker.admin, "status", code=None).ok  # the unlock is still open
        broker.as_admin("revoke", "before", "1h", "--reason", "another")
        file = folder_for_backups(broker) / "postgres.db"
        assert broker.latchkeyd("backup", file).ok
        assert file.read_bytes().startswith(b"SQLite format 3")
        broker.stop()
        server.sql("INSERT INTO brokers VALUES (1, 'b9.example.org:7443', (EXTRACT(EPOCH FROM now()) * 1000000)::bigint)", "moving")
        elsewhere = latchkeyd(broker, "copy", "--from", there, "--to", back)
        assert elsewhere.returncode == 1 and "b9.example.org" in elsewhere.stderr, elsewhere
        server.sql("DELETE FROM brokers", "moving")
        done = latchkeyd(broker, "copy", "--from", there, "--to", back)
        assert done.returncode == 0, done

        broker.config.write_text(back.read_text())
        broker.start()
        revocations = json.loads(broker.as_admin("revoke", "ls", "--json"))["revocations"]
        assert sorted(row["epoch"] for row in revocations) == [1, 2]
        assert broker.by(broker.admin, "audit", "verify").ok
    finally:
        broker.stop()
        server.stop()


def test_a_disk_that_is_too_full_leaves_no_backup_and_is_one_line_each_time(broker):
    known = folder_for_backups(broker) / "known.db"
    assert broker.latchkeyd("backup", known).ok
    whole = known.stat().st_size
    folder = folder_for_backups(broker, "small")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=777", "lk-test", folder],
                             capture_output=True, check=False)
    if mounted.returncode != 0:
        if os.environ.get("LATCHKEY_REQUIRE_LAB"):
            pytest.fail("no tmpfs can be mounted here")
        pytest.skip("no tmpfs can be mounted here")
    try:
        # Between too little for a row and enough there is a disk that takes the log, and not what it is moved to.
        for quarters in range(1, 40):
            size = max(64 * 1024, whole * quarters // 4)
            subprocess.run(["mount", "-o", f"remount,size={size // 1024}k", folder], check=True)
            done = broker.latchkeyd("backup", folder / "today.db")
            if done.ok:
                break
            refused(done, "disk", 4)
            assert os.listdir(folder) == []
        assert done.ok and os.listdir(folder) == ["today.db"], done
        with sqlite3.connect(folder / "today.db") as backup:
            assert backup.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            (pages,), (size,) = backup.execute("PRAGMA page_count").fetchone(), backup.execute("PRAGMA page_size").fetchone()
            assert (folder / "today.db").stat().st_size == pages * size
        backup.close()
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
    assert broker.by(broker.admin, "status").ok
