# SPDX-License-Identifier: Apache-2.0
"""The ledger into a file and back, on a broker that is used: what a backup holds, what a restore refuses and means."""

import json
import os
import shutil
import stat
import subprocess
import threading

import pytest
from scene import Scene, assert_in, assert_out
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


def test_a_ledger_that_was_not_used_since_moves_without_a_trace(new_broker, tmp_path):
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

    # And on into another store.
    state = broker.folder / "state"
    other = broker.folder / "other.toml"
    other.write_text(f'{broker.config.read_text()}\n[store]\npath = "{state}/moved.db"\n')
    argv = [broker.build.program("latchkeyd"), "copy", "--from", broker.config, "--to", other]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=broker.environment, timeout=60)
    assert done.returncode == 0 and "users 1\n" in done.stdout, done
    again = subprocess.run(argv, capture_output=True, text=True, check=False, env=broker.environment, timeout=60)
    assert again.returncode == 1 and "not empty" in again.stderr, again
    broker.config.write_text(other.read_text())
    broker.start()
    status = broker.by(broker.admin, "status", code=None)  # the unlock is still open
    assert status.ok, status
    assert [row["epoch"] for row in json.loads(broker.as_admin("revoke", "ls", "--json"))["revocations"]] == [1]
    assert broker.by(broker.admin, "audit", "verify").ok


def test_a_full_disk_leaves_no_backup_and_is_one_line(broker):
    folder = folder_for_backups(broker, "small")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=777", "lk-test", folder],
                             capture_output=True, check=False)
    if mounted.returncode != 0:
        if os.environ.get("LATCHKEY_REQUIRE_LAB"):
            pytest.fail("no tmpfs can be mounted here")
        pytest.skip("no tmpfs can be mounted here")
    try:
        refused(broker.latchkeyd("backup", folder / "today.db"), "disk", 4)
        assert os.listdir(folder) == []
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
    assert broker.by(broker.admin, "status").ok
