# SPDX-License-Identifier: Apache-2.0
"""The lab itself: VMs that boot, log people in by plain keys, refuse other keys, and go without a trace."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.keys import KEY_TYPES
from support.place import alive, descendants
from support.totp import Totp


def test_a_known_key_logs_in_and_another_is_refused(new_vm, new_key):
    vm = new_vm(agent=False)
    known, stranger = new_key("known"), new_key("stranger")
    vm.authorized_keys("carol", known)

    done = vm.ssh("carol", known, "id", "-un")
    assert (done.code, done.out.strip()) == (0, vm.login("carol"))

    refused = vm.ssh("carol", stranger, "true")
    assert refused.code == 255
    assert "Permission denied (publickey" in refused.err


def test_every_key_type_logs_in(new_vm, new_key):
    vm = new_vm(agent=False)
    keys = [new_key(kind, kind) for kind in KEY_TYPES]
    vm.authorized_keys("carol", *keys)
    for key in keys:
        assert vm.ssh("carol", key, "true").ok, f"{key.path.name}\n{vm.sshd_log()}"


def test_a_session_lasts_until_it_is_ended(new_vm, new_key):
    vm = new_vm(agent=False)
    key = new_key()
    vm.authorized_keys("carol", key)
    with vm.open_shell("carol", key) as session:
        assert session.running
        vm.run("pkill", "-KILL", "-u", vm.login("carol"), "-x", "sleep")
        assert session.wait(10).code != 0


def test_a_session_reports_what_it_reads_and_writes(new_vm, new_key):
    vm = new_vm(agent=False)
    key = new_key()
    vm.authorized_keys("carol", key)
    done = vm.ssh("carol", key, "cat; echo aside >&2; exit 7", stdin="said\n")
    assert (done.code, done.out, done.err) == (7, "said\n", "aside\n")


@pytest.mark.lab_only
def test_a_lab_vm_boots_whole_and_is_gone_after_down(new_vm, lab):
    vm = new_vm(agent=False)
    assert vm.run("systemctl", "is-system-running").stdout.strip() == "running"
    assert vm.run("cat", "/proc/1/comm").stdout.strip() == "systemd"
    assert vm.lab_ssh("alice", "true").ok
    assert "Accepted publickey for alice" in vm.sshd_log()

    leader = int(lab.vmlab("pid1", vm.number).stdout)
    everything = [leader, *descendants(leader)]
    folder = Path(lab.environment["VMLAB_RUN"], f"vm{vm.number}")
    assert folder.exists()
    lab.vmlab("down", vm.number)
    assert not [pid for pid in everything if alive(pid)]
    assert not folder.exists()
    assert not Path(f"/run/netns/{lab.name}-{vm.number}").exists()
    assert not vm.lab_ssh("alice", "true").ok


@pytest.mark.lab_only
def test_a_login_in_a_lab_vm_is_a_logind_session(new_vm, new_key):
    vm = new_vm(agent=False)
    key = new_key()
    vm.authorized_keys("carol", key)
    with vm.open_shell("carol", key) as session:
        listed = vm.run("loginctl", "list-sessions", "--no-legend").stdout.split()
        assert "carol" in listed
        vm.run("loginctl", "terminate-session", listed[0])
        assert session.wait(10).code == 255


@pytest.mark.lab_only
def test_files_are_pushed_into_a_running_vm(new_vm, lab, tmp_path):
    vm = new_vm(agent=False)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "program").write_text("#!/bin/sh\necho pushed\n", encoding="utf-8")
    (folder / "program").chmod(0o755)
    lab.vmlab("push", vm.number, folder / "program", "/usr/local/bin/one")
    lab.vmlab("push", vm.number, folder, "/opt/tree")
    assert vm.run("/usr/local/bin/one").stdout == "pushed\n"
    assert vm.run("/opt/tree/program").stdout == "pushed\n"
    assert vm.run("stat", "-c", "%U %a", "/opt/tree/program").stdout == "root 755\n"


@pytest.mark.local_only
def test_a_local_vm_leaves_nothing_running(new_vm, new_key):
    vm = new_vm(agent=False)
    key = new_key()
    vm.authorized_keys("carol", key)
    with vm.open_shell("carol", key) as session:
        everything = [vm.sshd.pid, *descendants(vm.sshd.pid)]
        assert len(everything) > 2
        vm.remove()
        assert session.wait(10).code == 255
    assert not [pid for pid in everything if alive(pid)]
    assert not Path("/etc/pam.d", vm.service).exists()


def test_codes_are_given_once_and_in_order():
    now = 1_000_000_005.0  # 15 s into a step
    totp = Totp("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", clock=lambda: now)
    step = int(now) // 30
    assert [totp.code() for _ in range(3)] == [totp.at(step - 1), totp.at(step), totp.at(step + 1)]
    assert totp.wrong() not in {totp.at(step + away) for away in range(-2, 3)}


def test_codes_are_those_of_rfc_6238():
    assert Totp("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").at(59 // 30) == "287082"


def test_runs_that_start_at_once_leave_each_other_s_places():
    code = "from support.place import Place\nfor _ in range(25): Place().remove()"
    runs = [subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[1], stdin=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, text=True) for _ in range(5)]
    assert [(run.communicate(timeout=60)[1], run.returncode) for run in runs] == [("", 0)] * len(runs)
