# SPDX-License-Identifier: Apache-2.0
"""What logind gets wrong, brought about on purpose: nobody is in without a session, and no session stays."""

import re
import subprocess

import pytest
from scene import assert_out
from support import ssh
from support.wait import wait_for
from team import Team, end_scene, lab_scene

pytestmark = [pytest.mark.xdist_group("races"), pytest.mark.every_suite]

# Ends each session of a person in the moment that logind tells of it, while it is still opening.
TERMINATOR = """
dbus-monitor --system "type='signal',interface='org.freedesktop.login1.Manager',member='SessionNew'" |
while read -r kind value _; do
    [ "$kind" = string ] || continue
    case $value in '":'*|'"org.'*) continue ;; esac
    echo "terminate $value"
    busctl call org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager TerminateSession \
        s "$(echo "$value" | tr -d '"')"
done
"""


@pytest.fixture(scope="module")
def shared(lab, run_place, build):
    scene = lab_scene(run_place, lab, build, "vm-races", hub={"heartbeat_seconds": 1})
    yield scene
    end_scene(scene)


@pytest.fixture
def team(shared, place):
    return lambda size=1: Team(shared, size)


def sshds_of(vm, login):
    return vm.run("pgrep", "-fa", f"^sshd[a-z-]*: {login}[ @]", check=False).stdout


def assert_nobody_is_in(one):
    wait_for(lambda: not sshds_of(one.vm, one.login), 30, lambda: f"no sshd of {one.login}: {sshds_of(one.vm, one.login)}")
    assert one.vm.run("pgrep", "-u", one.login, "-x", "sleep", check=False).returncode == 1


def test_a_session_that_is_terminated_while_it_opens(team):
    """logind drops it; sshd would go on without one, at once (257) or after two minutes (252)."""
    one = team()
    ann = one.people[0]
    with subprocess.Popen(one.vm.argv("bash", "-c", TERMINATOR), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          text=True) as terminator:
        try:
            wait_for(lambda: one.vm.run("pgrep", "-x", "dbus-monitor", check=False).returncode == 0, 20, "dbus-monitor")
            with one.session(ann, "echo begun && exec sleep 600") as session:
                done = session.wait(60)
                assert done.code == 255, done
        finally:
            one.vm.run("pkill", "-x", "dbus-monitor")
            said = terminator.communicate(timeout=20)[0]
    assert "terminate" in said
    assert_nobody_is_in(one)
    assert one.run(ann, "true").ok, "the next login, with nobody in its way"


@pytest.mark.parametrize("kind", ["shell", "tunnel"])
def test_a_login_for_which_logind_makes_no_session(team, kind):
    """As while the account's slice is stopping: pam_systemd is optional, our module is not."""
    one = team()
    ann = one.people[0]
    slice_ = f"user-{one.uid}.slice"
    one.vm.run("systemctl", "mask", "--runtime", slice_)
    try:
        how = {"options": ["SessionType=none"]} if kind == "tunnel" else {}
        with one.session(ann, *([] if how else ["echo in"]), **how) as session:
            done = session.wait(40)
            assert done.code not in (0, None) and "in" not in done.out.split(), done
    finally:
        one.vm.run("systemctl", "unmask", "--runtime", slice_)
    assert_nobody_is_in(one)
    assert one.run(ann, "true").ok


def test_an_sshd_that_asks_no_pam(team, new_key):
    """UsePAM no: nobody binds the session. What belongs to no session is ended; other accounts are left alone."""
    one = team()
    own = new_key("own")
    unmanaged = f"free{one.number}"
    for account in (one.account, unmanaged):
        one.vm.authorized_keys(account, own)
        one.vm.run("usermod", "-p", "*", account)  # without PAM a locked account is refused
    one.vm.run("systemd-run", "--quiet", "--unit", "sshd-bare", "/usr/sbin/sshd", "-D", "-p", "2222", "-o", "UsePAM=no")
    try:
        wait_for(lambda: one.vm.run("ss", "-Hltn", "sport = 2222").stdout, 20, "the other sshd")
        def enter(login):
            session = ssh.open_session(one.vm.network, one.vm.address, 2222, login, own, "echo begun && exec sleep 600")
            session.expect("begun")
            return session

        with enter(unmanaged) as free, enter(one.login) as session:
            assert session.wait(40).code == 255
            assert free.running
    finally:
        one.vm.run("systemctl", "stop", "sshd-bare")
    assert_nobody_is_in(one)
    assert re.search(f"end sshd login={one.login}", one.vm.agent_log())


def test_a_session_that_is_closing_already(team):
    """Its client has gone, a job that ignores SIGTERM and SIGHUP is left: TerminateSession does nothing."""
    two = team(2)
    ann, ben = two.people
    stubborn = "trap '' TERM HUP; echo begun; exec sleep 711"
    with two.session(ann, f"nohup sh -c \"{stubborn}\" >/tmp/out-{two.number} 2>&1 & while [ ! -s /tmp/out-{two.number} ];"
                          " do sleep 0.05; done; echo begun") as session:
        session.expect("begun")
        session.close()
    wait_for(lambda: states_of(two.vm, two.login) == {"closing"}, 20, lambda: f"closing: {states_of(two.vm, two.login)}")
    with two.shell(ben) as bens:
        receipt = two.revoke(ann)
        assert (receipt["sessions_found"], receipt["sessions_ended"]) == (1, 1)
        assert not two.runs("sleep 711")
        assert bens.running


def states_of(vm, login):
    """States of the account's logins; 257 lists its service manager as well, which is not one."""
    lines = vm.run("loginctl", "list-sessions", "--no-legend").stdout.splitlines()
    shown = [vm.run("loginctl", "show-session", "-p", "Class", "-p", "State", line.split()[0], check=False).stdout
             for line in lines if line.split()[2] == login]
    return {re.search("State=(.*)", text)[1] for text in shown if "Class=user" in text}


def test_a_manager_session_is_nobody_s(team):
    """257 lists one for each account's service manager; a revocation must not count or touch it."""
    two = team(2)
    ann, ben = two.people
    with two.shell(ben) as bens, two.shell(ann) as anns:
        manager = two.vm.run("systemctl", "show", "--value", "-p", "MainPID", f"user@{two.uid}.service").stdout.strip()
        assert manager != "0"
        two.revoke(ann)
        assert anns.wait(20).code == 255
        assert bens.running
        assert two.vm.run("systemctl", "show", "--value", "-p", "MainPID", f"user@{two.uid}.service").stdout.strip() == manager


def test_a_stranger_is_still_refused(team, new_key):
    one = team()
    assert_out(one.vm.ssh(one.account, new_key("stranger"), "true"))
