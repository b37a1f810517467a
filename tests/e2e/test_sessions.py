# SPDX-License-Identifier: Apache-2.0
"""All kinds of sessions, with the real programs, on one systemd VM: a revocation ends exactly its credential's."""

import shutil

import pytest
from support.wait import wait_for
from team import Team, answers, end_scene, lab_scene, short_folder, sparse_file

pytestmark = pytest.mark.xdist_group("sessions")


@pytest.fixture(scope="module")
def shared(lab, run_place, build):
    scene = lab_scene(run_place, lab, build, "vm-sessions", hub={"heartbeat_seconds": 1})
    yield scene
    end_scene(scene)


@pytest.fixture
def team(shared, place):
    return lambda size=1: Team(shared, size)


@pytest.mark.every_suite
def test_two_people_on_one_account(team):
    two = team(2)
    ann, ben = two.people
    with two.shell(ann) as one, two.shell(ann, tty=True) as other, two.session(ben, tty=True) as bens:
        bens.send("echo be''gun\n")
        bens.expect("begun")
        receipt = two.revoke(ann)
        assert (one.wait(20).code, other.wait(20).code) == (255, 255)
        assert (receipt["sessions_found"], receipt["sessions_ended"]) == (2, 2)
        bens.send("echo still he''re\n")
        bens.expect("still here")
        assert len(two.rows(ben)) == 1
        assert two.run(ben, "true").ok
        assert not two.run(ann, "true").ok


def test_one_connection_with_many_channels(team):
    one = team()
    ann = one.people[0]
    folder = short_folder()
    path = f"ControlPath={folder}/m"
    try:
        with one.session(ann, options=["ControlMaster=yes", path, "SessionType=none"]) as master:
            wait_for((folder / "m").exists, 20, "the master's socket")
            channels = [one.shell(ann, options=[path]) for _ in range(3)]
            one.await_rows(ann, 1)  # one connection, one session
            receipt = one.revoke(ann)
            assert master.wait(20).code == 255
            assert [channel.wait(20).code for channel in channels] == [255] * 3
            assert (receipt["sessions_found"], receipt["sessions_ended"]) == (1, 1)
    finally:
        shutil.rmtree(folder)


def test_a_tunnel_without_a_shell(team):
    two = team(2)
    ann, ben = two.people
    tunnels = {}
    for at, person in enumerate((ann, ben)):
        port = two.vm.network.free_port() if two.vm.network.prefix else 0
        forward = f"LocalForward=127.0.0.1:{port} 127.0.0.1:22"
        tunnels[at] = (two.session(person, options=["SessionType=none", "ExitOnForwardFailure=yes", forward]), port)

    def passes(port):
        return "ssh-ed25519" in answers(two.vm.network, "ssh-keyscan", "-T", "5", "-t", "ed25519", "-p", str(port),
                                        "127.0.0.1")

    with tunnels[0][0] as anns, tunnels[1][0] as bens:
        for _, port in tunnels.values():
            wait_for(lambda port=port: passes(port), 20, "data through the tunnel")
        two.revoke(ann)
        assert anns.wait(20).code == 255
        assert not passes(tunnels[0][1])
        assert passes(tunnels[1][1]) and bens.running


@pytest.mark.parametrize("program", ["scp", "sftp", "rsync"])
def test_a_transfer(team, program, tmp_path):
    one = team()
    ann = one.people[0]
    sparse_file(one.vm, one.login, "big")
    words = {"scp": ["-q", "-l", "8000", "{host}:big", tmp_path / "big"],
             "sftp": ["-q", "-l", "8000", "{host}:big", tmp_path / "big"],
             "rsync": ["--bwlimit=500", "--inplace", "--whole-file", "{host}:big", tmp_path / "big"]}[program]
    with one.client(program, ann, *words) as transfer:
        def is_under_way():
            assert transfer.running, transfer.all
            return (tmp_path / "big").exists() and (tmp_path / "big").stat().st_size > 0

        wait_for(is_under_way, 30, "the first bytes")
        receipt = one.revoke(ann)
        assert transfer.wait(20).code != 0
        assert (receipt["sessions_found"], receipt["sessions_ended"]) == (1, 1)
    assert one.vm.run("pgrep", "-u", one.login, "-f", "sftp-server|rsync|scp", check=False).returncode == 1


def leave_behind(one, person):
    """tmux and nohup, left running by a terminal that logged out."""
    with one.session(person, tty=True) as shell:
        shell.send("tmux -L lk new-session -d 'sleep 701'; nohup sleep 702 >/dev/null 2>&1 & echo le''ft\n")
        shell.expect("left")
        one.await_running("sleep 701")
        one.await_running("sleep 702")
        shell.send("exit\nexit\n")
        shell.wait(20)
    wait_for(lambda: one.vm.run("pgrep", "-f", f"sshd.*{one.login}[ @]", check=False).returncode == 1, 20,
             "the connection's sshd to end")


@pytest.mark.parametrize("between", ["nothing", "kill", "stop"])
def test_what_outlived_its_connection_is_still_its_credential_s(team, between):
    """logind says `closing` then, and TerminateSession has no effect; a restarted agent knows it too."""
    two = team(2)
    ann, ben = two.people
    leave_behind(two, ann)
    with two.shell(ben) as bens:
        restart(two.vm, between)
        two.await_rows(ann, 1)
        assert two.runs("sleep 701") and two.runs("sleep 702")
        receipt = two.revoke(ann)
        assert (receipt["sessions_found"], receipt["sessions_ended"], receipt["trouble"]) == (1, 1, "")
        assert not two.runs("sleep 701") and not two.runs("sleep 702")
        assert bens.running


def restart(vm, how):
    if how == "nothing":
        return
    if how == "kill":
        vm.kill_agent()
    else:
        vm.stop_agent()
    vm.start_agent().await_serving()


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_session_from_before_the_agent_s_restart(team, how):
    two = team(2)
    ann, ben = two.people
    with two.shell(ann) as first, two.session(ann, "echo begun && exec sleep 600") as last, two.shell(ben) as bens:
        last.expect("begun")
        restart(two.vm, how)  # at once: what the agent has answered it has written down
        assert first.running and last.running and bens.running, "a restart drops nobody"
        receipt = two.revoke(ann)
        assert (first.wait(20).code, last.wait(20).code) == (255, 255)
        assert receipt["sessions_ended"] == 2
        assert bens.running


def test_jobs_of_the_account_s_own_manager(team):
    """systemd-run --user: nothing names who asked; while nobody else is logged in, it was the revoked one."""
    one = team()
    ann = one.people[0]
    unit = f"/home/{one.login}/.config/systemd/user"
    one.vm.run("runuser", "-u", one.login, "--", "mkdir", "-p", unit)
    one.vm.run("runuser", "-u", one.login, "--", "tee", f"{unit}/own.service",
               stdin="[Service]\nExecStart=/bin/sleep 703\n[Install]\nWantedBy=default.target\n")
    one.vm.run("runuser", "-u", one.login, "--", "sh", "-c",
               f"mkdir -p {unit}/default.target.wants && ln -s ../own.service {unit}/default.target.wants/")
    one.vm.run("loginctl", "enable-linger", one.login)
    try:
        one.await_running("/bin/sleep 703")
        command = ("systemd-run --user --quiet sleep 704; systemd-run --user --quiet --scope sleep 705 & "
                   "echo begun; exec sleep 600")
        with one.session(ann, command) as session:
            session.expect("begun")
            for number in (704, 705):
                wait_for(lambda number=number: one.vm.run("pgrep", "-fx", f".*sleep {number}", check=False).returncode == 0,
                         20, f"job {number}")
            receipt = one.revoke(ann)
            assert session.wait(20).code == 255
            assert receipt["trouble"] == ""
        for number in (704, 705):
            assert one.vm.run("pgrep", "-fx", f".*sleep {number}", check=False).returncode == 1, number
        assert one.runs("/bin/sleep 703"), "what the account ran before is not the session's"
    finally:
        one.vm.run("loginctl", "disable-linger", one.login)


def test_jobs_of_one_of_two(team):
    """Beside another's session only what bears the revoked session's audit number is ended."""
    two = team(2)
    ann, ben = two.people
    with two.session(ben, "systemd-run --user --quiet sleep 706; systemd-run --user --quiet --scope sleep 707 & "
                          "echo begun; exec sleep 600") as bens:
        bens.expect("begun")
        with two.session(ann, "systemd-run --user --quiet sleep 708; "
                              "systemd-run --user --quiet --scope sleep 709 & echo begun; exec sleep 600") as anns:
            anns.expect("begun")
            for number in (706, 707, 708, 709):
                wait_for(lambda number=number: two.vm.run("pgrep", "-fx", f".*sleep {number}", check=False).returncode == 0,
                         20, f"job {number}")
            two.revoke(ann)
            assert anns.wait(20).code == 255
        left = {number: two.vm.run("pgrep", "-fx", f".*sleep {number}", check=False).returncode == 0
                for number in (706, 707, 708, 709)}
        assert left == {706: True, 707: True, 708: True, 709: False}
        assert bens.running


def test_a_stopped_sshd_and_a_stopped_shell(team):
    one = team()
    ann = one.people[0]
    with one.shell(ann) as session:
        one.vm.run("pkill", "-STOP", "-u", one.login)  # sshd's child and what runs in it
        receipt = one.revoke(ann)
        assert session.wait(20).code == 255
        assert receipt["sessions_ended"] == 1
    assert one.vm.run("pgrep", "-u", one.login, "sshd|sleep", check=False).returncode == 1


@pytest.mark.every_suite
def test_end_of_one_session_by_its_id(team):
    one = team()
    ann = one.people[0]
    with one.shell(ann) as first:
        first_id = one.rows(ann)[0]["id"]
        with one.shell(ann) as second:
            one.await_rows(ann, 2)
            one.scene.broker.as_admin("sessions", "end", str(first_id))
            assert first.wait(20).code == 255
            one.await_rows(ann, 1)
            assert second.running
    assert one.run(ann, "true").ok  # a session that was ended is no credential that was revoked


def test_a_crowd_that_holds_more_processes_than_the_agent_may_have_descriptors(team):
    """No number of processes keeps a connection alive, nor out of the receipt."""
    two = team(2)
    ann, ben = two.people
    crowd = "i=0; while [ $i -lt 1500 ]; do sleep 711 & i=$((i+1)); done; echo be''gun; wait"
    with two.shell(ben) as bens, two.session(ann, crowd) as anns:
        anns.expect("begun", 60)
        receipt = two.revoke(ann)
        assert anns.wait(20).code == 255
        assert not two.runs("sleep 711")
        assert (receipt["sessions_found"], receipt["sessions_ended"], receipt["trouble"]) == (1, 1, "")
        two.await_rows(ann, 0)
        assert bens.running
