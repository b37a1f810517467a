# SPDX-License-Identifier: Apache-2.0
"""What bad input gets: one clear line, nothing half-written, the daemon still up."""

import contextlib
import os
import signal
import socket
import sqlite3
import ssl
import subprocess

import pytest
from scene import Scene, assert_in, assert_out
from support.keys import KeyPair
from support.wait import wait_for

pytestmark = pytest.mark.local_only
STRANGER = "Permission denied (publickey)."


def is_up(broker):
    return "admin" in broker.as_admin("whoami")


def one_line(text):
    lines = [line for line in text.strip().splitlines() if line]
    assert len(lines) == 1, text
    return lines[0]


# --- At the door ------------------------------------------------------------------------------------------------


def test_a_wrong_code_and_a_code_used_before_are_refused(broker):
    admin = broker.admin
    assert broker.by(admin, "whoami", code=admin.totp.wrong()).code == 255
    assert broker.by(admin, "whoami").ok
    assert broker.by(admin, "lock").ok
    assert broker.by(admin, "whoami", code=admin.totp.last()).code == 255
    assert is_up(broker)


def test_strangers_hear_the_standard_refusal_and_nothing_else(broker, new_key):
    said = {broker.ssh(name, new_key(f"key-{name}"), "whoami").err.split(": ", 1)[1].strip()
            for name in ("admin", "nobody-here", "root")}
    said.add(broker.ssh("nobody-here", broker.admin.key, "whoami").err.split(": ", 1)[1].strip())
    assert said == {STRANGER}
    assert is_up(broker)


def test_a_weak_key_is_refused_at_joining_with_its_reason(broker, tmp_path):
    key = tmp_path / "weak"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", key], check=True)
    invite = broker.invite("ann")
    done = broker.ssh("join", key, code=invite)
    assert done.code == 255 and "3072" in done.err, done.err
    assert KeyPair(key).fingerprint not in broker.as_admin("key", "ls", "--json")


def test_a_locked_account_is_told_so_after_its_key_alone(broker, new_key):
    ann = broker.enrol("ann")
    broker.as_admin("user", "lock", "ann")
    assert "locked" in broker.by(ann, "whoami").err
    assert STRANGER in broker.ssh("ann", new_key(), "whoami").err


def test_an_expired_invite_and_a_spent_one_are_refused(new_broker, new_key):
    broker = new_broker(limits={"invite_seconds": 2})
    ann, late, key = broker.enrol("ann"), broker.invite("late"), new_key()
    wait_for(lambda: "expired" in broker.ssh("join", key, code=late).err, 15, "the invite to expire")
    assert broker.by(ann, "whoami").ok
    assert STRANGER in broker.ssh("late", key, "whoami").err
    assert is_up(broker)


def test_a_join_token_is_good_for_its_uses_alone(broker, new_vm):
    scene = Scene(broker, new_vm(name="vm-one"))
    token = scene.token()
    second = new_vm(name="vm-two")
    second.join(token)
    third = new_vm(name="vm-three")
    done = third.agent_command("join", token, "--name", third.name, check=False)
    assert done.returncode == 1
    assert "vm token" in one_line(done.stderr), "it says what to do next"
    assert [vm["name"] for vm in scene.admin_json("vm", "ls")["vms"]] == ["vm-one", "vm-two"]


def test_garbage_at_the_door_is_dropped(broker):
    for garbage in (b"", b"GET / HTTP/1.0\r\n\r\n", b"SSH-2.0-x\r\n" + b"\xff" * 40000, os.urandom(4096)):
        with socket.create_connection((broker.address, broker.door_port), timeout=10) as raw:
            with contextlib.suppress(OSError):
                raw.sendall(garbage)
                raw.shutdown(socket.SHUT_WR)
                while raw.recv(4096):
                    pass
    assert is_up(broker)


def test_malformed_and_oversized_frames_close_their_own_connection_only(broker, new_vm, tmp_path):
    scene = Scene(broker, new_vm(name="vm-one"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", tmp_path / "key", "-out",
                    tmp_path / "crt", "-days", "2", "-subj", "/CN=x"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    context.set_alpn_protocols(["latchkey/1"])
    for frame in (b"\xff\xff\xff\xff*", b"\0\0\0\0", b"\0\0\0\5*abcd", b"\0\0\0\1\xee", b"\0\1\0\0"):
        with (socket.create_connection((broker.address, broker.hub_port), timeout=15) as raw,
              context.wrap_socket(raw) as tls):
            with contextlib.suppress(OSError):
                tls.sendall(frame)
                raw.shutdown(socket.SHUT_WR)
                while tls.recv(4096):
                    pass
    assert is_up(broker)
    assert scene.vm.agent_status()["connected"]
    for frame in (b"\xff\xff\xff\xff\n", b"\0\0\0\0", b"\0\0\0\3\x0aab"):
        with socket.socket(socket.AF_UNIX) as local:
            local.settimeout(10)
            local.connect(str(scene.vm.socket))
            local.sendall(frame)
            local.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                while local.recv(4096):
                    pass
    assert scene.vm.agent_status()["serving"]


# --- On the broker's machine ------------------------------------------------------------------------------------


def test_a_broken_configuration_is_named_by_line_and_key(broker):
    text = broker.config.read_text()
    assert broker.latchkeyd("check").ok
    for broken, word in ((text.replace("[door]", "[door]\nlistn = 1", 1), "door.listn"),
                         (text + "\n[limits\n", "line "), (text + "\n[doors]\n", "doors")):
        broker.config.write_text(broken)
        for command in ("check", "serve"):
            done = broker.latchkeyd(command)
            assert done.code == 2 and word in one_line(done.err), done
    broker.config.write_text(text)
    assert is_up(broker)


def test_a_database_that_cannot_be_opened_is_one_line(broker):
    broker.stop()
    whole = broker.database().read_bytes()
    broker.database().write_bytes(b"this is no database" * 500)
    done = broker.latchkeyd("serve")
    assert done.code == 4 and "ledger.db" in done.err.splitlines()[-1], done
    broker.database().write_bytes(whole)
    broker.start()
    assert is_up(broker)


def test_a_data_key_that_does_not_fit_is_said(broker):
    broker.stop()
    file = broker.folder / "state" / "data.key"
    right = file.read_bytes()
    file.write_bytes(os.urandom(32))
    done = broker.latchkeyd("serve")
    assert not done.ok and "data key" in done.err.splitlines()[-1], done
    file.write_bytes(right)
    broker.start()
    assert is_up(broker)


def test_a_key_that_was_lost_is_put_back_and_never_made_anew(broker, new_key):
    broker.stop()
    state, aside, ca = broker.folder / "state", broker.folder / "aside", broker.folder / "state-signer" / "ca_ed25519"
    aside.mkdir()
    init = ("init", "--admin", "eve", "--admin-key", new_key("eve").public_path)
    names = ("broker_ed25519", "ledger_ed25519", "data.key")

    def refused(words, *command):
        before = sorted(state.iterdir())
        done = broker.latchkeyd(*command)
        assert done.code == 2, done
        assert [line for line in done.err.splitlines() if all(word in line for word in words)], done
        assert sorted(state.iterdir()) == before

    for name in names:
        (state / name).rename(aside / name)
        refused((name, "docs/backup.md"), *init)
        refused((name, "docs/backup.md"), "serve")
        (aside / name).rename(state / name)
    ca.rename(aside / ca.name)
    done = broker.latchkeyd(*init)
    assert done.code == 1 and "admin already" in one_line(done.err) and not ca.exists(), done

    for name in names:
        (state / name).rename(aside / name)
    refused(("the database is in use", "docs/backup.md"), *init)
    assert not ca.exists()
    refused(("no keys", "docs/backup.md"), "backup", aside / "x.db")
    for name in names:
        (aside / name).rename(state / name)
    (aside / ca.name).rename(ca)

    right = (state / "broker_ed25519").read_bytes()
    (state / "broker_ed25519").write_bytes(new_key("other").path.read_bytes())
    done = broker.latchkeyd("serve")
    assert done.code == 2 and "first served with" in done.err.splitlines()[-1], done
    (state / "broker_ed25519").write_bytes(right)
    broker.start()
    assert is_up(broker)


def test_a_full_disk_refuses_and_a_free_one_goes_on(place, build, network, tmp_path):
    from support.broker import Broker
    broker = Broker(place, build, network, name="small")
    folder = broker.folder / "state"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "lk-test", folder], capture_output=True, check=False)
    if mounted.returncode != 0:
        if os.environ.get("LATCHKEY_REQUIRE_LAB"):
            pytest.fail("no tmpfs can be mounted here")
        pytest.skip("no tmpfs can be mounted here")
    try:
        broker.init().start()
        assert is_up(broker)
        filler = folder / "filler"
        with contextlib.suppress(OSError), open(filler, "wb") as out:
            while True:
                out.write(b"\0" * 4096)
                out.flush()
        refused = broker.by(broker.admin, "group", "add", "x" * 30)
        rounds = 0
        while refused.ok and rounds < 200:  # the log of the database may have had room left
            rounds += 1
            refused = broker.by(broker.admin, "group", "add", f"g{rounds}")
        assert refused.code == 4 and "disk" in one_line(refused.err), refused
        filler.unlink()
        broker.as_admin("group", "add", "later")
        assert broker.by(broker.admin, "audit", "verify").ok
    finally:
        broker.stop()
        subprocess.run(["umount", "-l", folder], check=True)


def signer_pids(broker):
    children = subprocess.run(["pgrep", "-f", f"latchkey-signer --config {broker.config}"], capture_output=True,
                              text=True, check=False).stdout.split()
    return [int(pid) for pid in children]


def test_a_signer_that_hangs_or_dies_is_said_and_comes_back(new_broker, new_vm):
    broker = new_broker()
    scene = Scene(broker, new_vm(name="vm-one"))
    ann = scene.person("ann")
    assert broker.by(ann, "cert", "--new").ok
    pids = signer_pids(broker)
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        done = broker.by(ann, "cert", "--new")
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert done.code == 4 and "signer" in one_line(done.err) and not done.out, done
    assert is_up(broker)
    wait_for(lambda: broker.by(ann, "cert", "--new").ok, 20, "the signer to go on")
    for pid in signer_pids(broker)[-1:]:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: broker.by(ann, "cert", "--new").ok, 30, "the signer to come back")


# --- A database that somebody else writes -----------------------------------------------------------------------


@contextlib.contextmanager
def database(broker):
    connection = sqlite3.connect(broker.database(), timeout=10)
    try:
        with connection:
            yield connection
    finally:
        connection.close()


def test_a_key_swapped_in_the_database_opens_nothing(broker, new_key):
    ann = broker.enrol("ann")
    thief = new_key("thief")
    import base64
    blob = base64.b64decode(thief.public.split()[1])
    with database(broker) as db:
        changed = db.execute("UPDATE keys SET fingerprint = ?, key_blob = ? WHERE fingerprint = ?",
                             (thief.fingerprint, blob, ann.key.fingerprint)).rowcount
    assert changed == 1
    assert STRANGER in broker.ssh("ann", thief, "whoami", code=ann.totp).err
    assert "row.tampered" in broker.as_admin("audit", "ls", "--json")
    assert is_up(broker)


def test_a_grant_widened_in_the_database_opens_nothing(broker, new_vm):
    scene = Scene(broker, new_vm(name="vm-one"))
    ann = scene.person("ann")
    other = scene.vm.login("bob")
    assert_out(scene.vm.ssh("bob", ann.key, "id"))
    with database(broker) as db:
        assert db.execute("UPDATE rules SET logins = logins || ',' || ?", (other,)).rowcount == 1
    assert_out(scene.vm.ssh("bob", ann.key, "id"))
    assert_out(scene.plain(ann))  # the row counts as absent
    assert "row.tampered" in broker.as_admin("audit", "ls", "--json")


def test_a_revocation_altered_in_the_database_stays_in_force(broker, new_vm):
    scene = Scene(broker, new_vm(name="vm-one"))
    ann = scene.person("ann")
    assert_in(scene.plain(ann), scene.login)
    broker.as_admin("revoke", "key", ann.key.fingerprint, "--reason", "lost", "--wait", "15s")
    with database(broker) as db:
        assert db.execute("UPDATE revocations SET drop_at = 1, mac = x'00'").rowcount == 1
    broker.stop()
    broker.start()
    scene.vm.await_serving()
    assert_out(scene.plain(ann))
    assert scene.vm.agent_status()["epoch"] == 1


# --- A VM whose clock is wrong ----------------------------------------------------------------------------------


def test_a_vm_with_a_wrong_clock_is_judged_in_broker_time_and_reported(broker, new_vm):
    if os.environ.get("LATCHKEY_SANITIZED"):
        pytest.skip("libfaketime cannot be loaded before a sanitizer: the plain builds run this one")
    library = subprocess.run(["sh", "-c", "ls /usr/lib/*/faketime/libfaketimeMT.so.1"], capture_output=True, text=True,
                             check=True).stdout.strip()
    scene = Scene(broker, new_vm(name="vm-one"))
    ann = scene.person("ann")
    scene.vm.stop_agent()
    scene.vm.start_agent(LD_PRELOAD=library, FAKETIME="-20m", FAKETIME_DONT_FAKE_MONOTONIC="1").await_serving()
    assert_in(scene.plain(ann), scene.login)
    wait_for(lambda: abs(scene.admin_json("vm", "show", "vm-one")["clock_offset_ms"]) > 1_000_000, 30,
             "the offset to be reported")
    assert "clock" in scene.admin_json("vm", "show", "vm-one")["trouble"]
