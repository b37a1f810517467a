# SPDX-License-Identifier: Apache-2.0
"""Receipts: who has answered a revocation, at a terminal and for scripts, and how one is verified without the broker."""

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest
from scene import Scene, assert_in, assert_out
from support import ssh
from support.wait import wait_for

pytestmark = pytest.mark.local_only
DOC = Path(__file__).parents[2] / "docs" / "receipts.md"


@pytest.fixture
def scene(backend, broker, new_vm):
    scene = Scene(broker, new_vm(name="vm-one"))
    scene.other = new_vm(name="vm-two")
    scene.other.login("alice")
    scene.join(scene.other)
    return scene


def revoke(scene, *words, reason="stolen"):
    return scene.broker.by(scene.broker.admin, "revoke", *words, "--reason", reason)


def vms_of(scene, epoch):
    return {row["vm"]: row for row in scene.admin_json("revoke", "show", epoch)["vms"]}


def test_an_unreachable_vm_is_named_with_its_times_and_missing_receipts_exit_with_three(scene):
    ann, ben = scene.person("ann"), scene.person("ben")
    assert_in(scene.plain(ann), scene.login)
    scene.other.stop_agent()
    done = revoke(scene, "user", "ann")
    assert done.code == 3, done.err
    assert re.search(r"^1/2 VMs confirmed in \d+\.\d\d s; 1 unreachable: vm-two "
                     r"\(last seen (\d+ s|just now|1 min)( ago)?, its grants end in (1 h|59 min|58 min)\)$", done.out, re.MULTILINE), done.out
    assert "look again with: revoke show 1" in done.err
    rows = vms_of(scene, "1")
    assert (rows["vm-one"]["state"], rows["vm-two"]["state"]) == ("confirmed", "unreachable")
    assert rows["vm-one"]["answered_at"] and rows["vm-two"]["grants_end"] > rows["vm-two"]["last_seen"]

    done = revoke(scene, "user", "ben", "--json", "--wait", "1s")
    assert done.code == 3
    answer = json.loads(done.out)
    assert (answer["vms_missing"], answer["vms_confirmed"], answer["unconfirmed"][0]["vm"]) == (["vm-two"], 1, "vm-two")

    scene.other.start_agent()
    wait_for(lambda: scene.admin_json("revoke", "show", "1")["vms_confirmed"] == 2, 20, "vm-two's receipt")
    assert vms_of(scene, "1")["vm-two"]["receipt_epoch"] == 2  # one receipt for both
    scene.broker.as_admin("user", "unlock", "ben")
    done = revoke(scene, "user", "ben")
    assert done.ok and "2/2 VMs confirmed in" in done.out and ";" not in done.out, done.out


class Terminal:
    """A command of the admin's at a real terminal of 100 columns; what it shows, read with a deadline."""

    def __init__(self, broker, *words):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        argv = ssh.arguments(broker.network, broker.address, broker.door_port, broker.admin.name, broker.admin.key, words,
                             options=["BatchMode=yes", "LogLevel=ERROR", "RequestTTY=yes"])
        self.process = subprocess.Popen([word for word in argv if word != "-T"], stdin=slave, stdout=slave, stderr=slave,
                                        start_new_session=True)
        os.close(slave)
        self.shown = ""

    def read_until(self, pattern, seconds=30.0):
        """What it has shown so far, once that matches (None: once the command has ended)."""
        deadline = time.monotonic() + seconds
        while not (pattern and re.search(pattern, self.shown)):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.master], [], [], left)[0]:
                raise TimeoutError(f"{pattern!r} in {self.shown!r}")
            try:
                part = os.read(self.master, 4096)
            except OSError:  # the other end is closed
                part = b""
            if not part:
                assert pattern is None, f"ended before {pattern!r}: {self.shown!r}"
                break
            self.shown += part.decode(errors="replace")
        return self.shown

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(10)
        os.close(self.master)


def test_a_terminal_shows_the_count_as_it_grows_on_one_line(scene):
    scene.person("ann")
    scene.other.stop_agent()
    with Terminal(scene.broker, "revoke", "user", "ann", "--reason", "stolen", "--wait", "40s") as terminal:
        live = terminal.read_until(r"1/2 VMs confirmed in \d+\.\d\d s; 1 unreachable: vm-two")
        assert "\n" not in live.strip(), live
        scene.other.start_agent()
        shown = terminal.read_until(None)
        assert terminal.process.wait(10) == 0, shown
    before, _, after = shown.partition("revoked user ann, epoch 1")
    lines = before.split("\r")
    assert len(lines) > 2 and all(len(line) < 100 for line in lines), lines
    assert "\n" not in before.strip()
    assert re.fullmatch(r"\r\n2/2 VMs confirmed in \d+\.\d\d s\r\n", after), after


def latchkey(scene, *words):
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(scene.broker.folder), "LANG": "C.UTF-8"}
    done = subprocess.run([scene.broker.build.program("latchkey"), "receipt", "verify", *words], capture_output=True,
                          text=True, check=False, timeout=30, env=environment)
    return ssh.Result(done.returncode, done.stdout, done.stderr)


def openssl_verifies(receipt, key, folder):
    """Runs the lines of docs/receipts.md as they stand there."""
    script = re.search(r"```sh\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)[1]
    (folder / "receipt.json").write_text(json.dumps(receipt), encoding="utf-8")
    (folder / "vm.pub").write_text(key + "\n", encoding="utf-8")
    done = subprocess.run(["sh", "-eu"], input=f"file=receipt.json key=vm.pub\n{script}", cwd=folder, text=True,
                          capture_output=True, check=False, timeout=30)
    assert "Signature Verif" in done.stdout, done.stderr
    return done.returncode == 0


def test_receipts_are_verified_without_the_broker_and_altered_ones_refused(scene, tmp_path):
    ann = scene.person("ann")
    with scene.session(ann) as session:
        assert revoke(scene, "user", "ann", "--wait", "20s").ok
        assert session.wait(10).code == 255
    shown = tmp_path / "shown.json"
    shown.write_text(scene.broker.as_admin("revoke", "show", "1", "--json"), encoding="utf-8")
    known = tmp_path / "known"
    known.write_text(scene.broker.as_admin("vm", "keys"), encoding="utf-8")
    keys = {row["vm"]: row["key"] for row in scene.admin_json("vm", "keys")["keys"]}
    for name, key in keys.items():
        (tmp_path / f"{name}.pub").write_text(key + "\n", encoding="utf-8")
    done = latchkey(scene, shown, "--known", known)
    assert done.ok and done.out == "genuine: 2 receipts of 2 VMs, epoch 1\n", done.err
    done = latchkey(scene, shown, "--vm", "vm-one", "--key", tmp_path / "vm-one.pub")
    assert done.ok and "ended 1 of 1 sessions" in done.out and done.out.count("\n") == 1, done

    document = json.loads(shown.read_text(encoding="utf-8"))
    receipt = next(one for one in document["receipts"] if one["vm"] == "vm-one")
    assert openssl_verifies(receipt, keys["vm-one"], tmp_path)
    assert not openssl_verifies({**receipt, "sessions_ended": 0}, keys["vm-one"], tmp_path)
    assert not openssl_verifies(receipt, keys["vm-two"], tmp_path)

    file = tmp_path / "altered.json"

    def refusal(text, *how):
        file.write_text(text, encoding="utf-8")
        done = latchkey(scene, file, *(how or ("--known", known)))
        assert done.code == 1 and done.out == "" and done.err.count("\n") == 1, done
        return done.err

    for field, value in [("sessions_ended", 0), ("epoch", 2), ("vm_id", "7"), ("trouble", "none"), ("time_micros", 1)]:
        assert "it was altered" in refusal(json.dumps({**receipt, field: value}))
    assert "another key signed it" in refusal(json.dumps(receipt), "--key", tmp_path / "vm-two.pub")
    assert "another key signed it" in refusal(json.dumps({**receipt, "vm": "vm-two"}))
    assert "cut off" in refusal(json.dumps(receipt)[:-20])
    assert "'signature' is missing" in refusal(json.dumps({name: receipt[name] for name in receipt if name != "signature"}))
    assert latchkey(scene, shown).code == 2  # by no key at all


def test_the_agent_keeps_its_own_receipts_over_a_restart(scene, tmp_path):
    vm, ann = scene.vm, scene.person("ann")
    assert_in(scene.plain(ann), scene.login)
    assert vm.agent_command("receipts").stdout.startswith("no receipts")
    revoke(scene, "user", "ann", "--wait", "20s")
    scene.broker.as_admin("user", "unlock", "ann")
    revoke(scene, "user", "ann", "--wait", "20s")

    def kept():
        return json.loads(vm.agent_command("receipts", "--json").stdout)

    wait_for(lambda: len(kept()["receipts"]) == 2, 15, "both receipts on disk")
    before = kept()
    vm.kill_agent()
    assert kept() == before
    vm.start_agent().await_serving()  # and answers once more, which adds nothing
    scene.broker.as_admin("user", "unlock", "ann")
    revoke(scene, "user", "ann", "--wait", "20s")
    wait_for(lambda: len(kept()["receipts"]) == 3, 15, "the third receipt on disk")
    assert kept()["receipts"][:2] == before["receipts"]
    assert [one["epoch"] for one in kept()["receipts"]] == [1, 2, 3]
    at_broker = [one for one in scene.admin_json("revoke", "show", "3")["receipts"] if one["vm"] == vm.name]
    assert at_broker == kept()["receipts"][2:]
    file, key = tmp_path / "own.json", tmp_path / "vm.pub"
    file.write_text(vm.agent_command("receipts", "--json").stdout, encoding="utf-8")
    key.write_text(before["key"] + "\n", encoding="utf-8")
    done = latchkey(scene, file, "--key", key)
    assert done.ok and "3 receipts of 1 VM, epoch 1 to 3" in done.out, done
    assert before["key"] == scene.admin_json("vm", "show", vm.name)["key"]
    assert "epoch 3" in vm.agent_command("receipts").stdout


def test_a_revoked_vm_ends_its_sessions_and_is_let_go_while_others_serve(scene):
    ann = scene.person("ann")
    with scene.session(ann) as here, scene.other.open_shell(scene.account, ann.key) as there:
        done = revoke(scene, "vm", "vm-one", "--wait", "20s")
        assert done.ok and "2/2 VMs confirmed" in done.out, done.out + done.err
        assert here.wait(15).code == 255
        wait_for(lambda: not scene.vm.agent_status().get("connected"), 20, "vm-one to be let go")
        assert_out(scene.plain(ann))
        assert there.running
        assert_in(scene.other.ssh(scene.account, ann.key, "id -un"), scene.login)
        assert there.running
    assert [row["name"] for row in scene.admin_json("vm", "ls")["vms"]] == ["vm-two"]
    wait_for(lambda: "not registered" in scene.vm.agent_status().get("trouble", ""), 20, "vm-one to be refused")
    removed = json.loads(scene.broker.as_admin("vm", "rm", "vm-two", "--json"))
    wait_for(lambda: scene.admin_json("revoke", "show", str(removed["epoch"]))["vms_confirmed"] == 1, 20,
             "vm-two's receipt for its own removal")
    assert_out(scene.other.ssh(scene.account, ann.key, "id"))


def test_before_a_time_ends_what_is_older_and_leaves_what_is_newer(scene, tmp_path):
    ann = scene.person("ann")
    certificate = scene.certificate(ann, tmp_path)
    issued = int(time.time())
    with scene.certificate_session(ann, certificate) as old:
        wait_for(lambda: time.time() >= issued + 2, 5, "the next seconds")
        ben = scene.person("ben")
        with scene.session(ben) as new:
            until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(issued + 1))
            assert revoke(scene, "before", until, "--wait", "20s").ok
            assert old.wait(15).code == 255
            assert_out(scene.with_certificate(ann, certificate))
            assert_in(scene.plain(ben), scene.login)
            assert new.running
    assert_in(scene.plain(ann), scene.login)  # with a certificate of now: nobody was locked


def test_a_revoked_ca_ends_what_it_signed_and_a_key_that_is_none_is_refused(scene):
    ann = scene.person("ann")
    keys = scene.admin_json("ca", "show")["keys"]
    fingerprints = {row["use"]: row["fingerprint"] for row in keys}
    with scene.session(ann) as session:
        refused = revoke(scene, "ca", fingerprints["statements"])
        assert refused.code == 1 and "was ever here" in refused.err
        assert session.running
        assert revoke(scene, "ca", fingerprints["signs"], "--wait", "20s").ok
        assert session.wait(15).code == 255
