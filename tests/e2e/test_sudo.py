# SPDX-License-Identifier: Apache-2.0
"""sudo's second factor: real sudo on a real systemd VM, by the lines that packaging/pam offers. One VM and one broker
serve all of it; each test has people of its own, since a code is good once."""

import re
from pathlib import Path

import pytest
from scene import Scene, assert_in
from support.broker import Broker
from support.lab import LabVm
from support.wait import wait_for

PAM = Path(__file__).resolve().parents[2] / "packaging" / "pam"
PROMPT = r"Latchkey code for {} on sudo-one: "
ROOT = "uid=0(root)"
# What each managed account's sudo is by policy; `local` is an account of the machine's own with a password.
RULES = {"factor": ["--sudo", "factor"], "brief": ["--sudo", "factor", "--sudo-grace", "0"], "free": ["--sudo", "free"],
         "none": ["--sudo", "none"], "unsaid": []}
PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def sudo_broker(run_place, lab, build):
    broker = Broker(run_place, build, lab.network, name="broker-sudo").init().start()
    yield broker
    broker.stop()


@pytest.fixture(scope="module")
def vm(run_place, lab, build):
    vm = LabVm(run_place, lab, build, name="sudo-one", local_logins=["local"]).start()
    for account in (*RULES, "alice", "local"):
        vm.login(account)
    vm.run("chpasswd", stdin="".join(f"{account}:{PASSWORD}\n" for account in ("unsaid", "local")))
    vm.run("sh", "-c", 'echo "127.0.1.1 $(hostname)" >>/etc/hosts')
    lines = [line for line in (PAM / "sudo").read_text().splitlines() if not line.startswith("#")]
    for service in ("sudo", "sudo-i"):
        stock = vm.run("cat", f"/etc/pam.d/{service}").stdout
        ours = re.sub(r"^@include", "\n".join([*lines, "@include"]), stock, count=1, flags=re.MULTILINE)
        vm.run("sh", "-c", f"cat >/etc/pam.d/{service}", stdin=ours)
    rights = "".join(f"{account} ALL=(ALL) ALL\n" for account in (*RULES, "local"))
    rights += "factor ALL=(root) NOPASSWD: /usr/bin/whoami\n"
    vm.run("sh", "-c", "umask 337; cat >/etc/sudoers.d/latchkey", stdin=(PAM / "sudoers").read_text() + rights)
    vm.run("visudo", "--check")
    yield vm
    vm.remove()


@pytest.fixture(scope="module")
def shared(sudo_broker, vm):
    scene = Scene(sudo_broker, vm)
    for account, words in RULES.items():
        sudo_broker.as_admin("grant", "add", "--group", "demo", "--vm", "*", "--login", account, "--allow", "pty", *words)
    wait_for(lambda: set(RULES) <= set(vm.agent_status()["managed_logins"]), 20, "the VM to manage the accounts")
    yield scene


@pytest.fixture
def scene(shared, sudo_broker, vm, place):
    """Mended after a test that took something away."""
    yield shared
    if not sudo_broker.daemon.running:
        sudo_broker.start()
    if vm.run("systemctl", "is-active", "latchkey-agent", check=False).returncode != 0:
        vm.start_agent()
    vm.await_serving(40)


class Terminal:
    """A shell on a pseudo-terminal in a session of its own."""

    def __init__(self, scene, account, person):
        self.person = person
        self.session = scene.vm.open_session(account, person.key, tty=True)
        self.read = 0
        self.commands = 0
        self.session.send("export PS1='rea''dy> ' PS2=; stty -echo\n")
        self.expect(r"ready> ")

    def expect(self, pattern, seconds=20):
        """The next match after what was matched before, and all that stood before its end."""
        def found():
            text = self.session.out[self.read:]
            match = re.search(pattern, text)
            assert match or self.session.running, f"the session ended before {pattern!r}: {text!r}"
            return match

        match = wait_for(found, seconds, lambda: f"{pattern!r} in {self.session.out[self.read:]!r}")
        text = self.session.out[self.read:self.read + match.end()]
        self.read += match.end()
        return text

    def start(self, command="sudo id"):
        self.commands += 1
        self.session.send(f"{command}; echo ended-$?-{self.commands}\n")

    def prompt(self):
        return self.expect(PROMPT.format(self.person.name))

    def give(self, code):
        self.session.send(f"{code}\n")

    def end(self):
        """(exit status, all that it said)"""
        text = self.expect(rf"ended-\d+-{self.commands}\r\n")
        return int(re.search(r"ended-(\d+)-", text)[1]), text

    def run(self, command="sudo id"):
        """A command that asks for nothing."""
        self.start(command)
        return self.end()

    def step_up(self, code=None):
        self.start()
        self.prompt()
        self.give(code or self.person.totp.code())
        status, text = self.end()
        assert status == 0 and ROOT in text, text

    def assert_asks(self):
        """Gives none, which counts as no wrong one, until sudo gives up."""
        self.start()
        for _ in range(3):
            self.prompt()
            self.give("")
        status, text = self.end()
        assert status != 0 and ROOT not in text, text

    def assert_denied(self, why, command="sudo id"):
        status, text = self.run(command)
        assert status != 0 and ROOT not in text and re.search(why, text), text
        assert "Latchkey code" not in text, text

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.session.close()


def test_a_right_code_lets_in_and_holds_for_its_session_alone(scene):
    ann = scene.person("ann")
    with Terminal(scene, "factor", ann) as first, Terminal(scene, "factor", ann) as second:
        first.step_up()
        status, text = first.run()
        assert status == 0 and ROOT in text and "code for" not in text, text
        status, text = first.run("sudo -n id")
        assert status == 0 and ROOT in text, text
        second.assert_asks()
        status, text = second.run("sudo -n id")
        assert status != 0 and ROOT not in text and "a code is needed" in text, text
        # What is started in the first session and loses its parent is still of that session.
        status, text = first.run("(setsid sudo -n id >left 2>&1 &); until grep -q uid left; do sleep 0.1; done; cat left")
        assert ROOT in text, text
        assert "sudo.allow" in scene.broker.as_admin("audit", "ls", "--user", "ann")


def test_wrong_and_used_codes_stay_out(scene):
    ben = scene.person("ben")
    with Terminal(scene, "factor", ben) as shell:
        shell.start()
        shell.prompt()
        shell.give(ben.totp.wrong())
        assert "Latchkey: wrong code" in shell.prompt()
        shell.give("")
        assert "no code was given" in shell.prompt()
        ben.totp.code()  # so that the next one stays good for a while
        shell.give(ben.totp.code())
        status, text = shell.end()
        assert status == 0 and ROOT in text, text
    again = scene.vm.ssh("factor", ben.key, "sudo -S id", stdin=f"{ben.totp.last()}\n")
    assert not again.ok and "has been used" in again.err and ROOT not in again.out, again


def test_five_wrong_codes_lock_and_say_so(scene):
    pat = scene.person("pat")
    wrong = "\n".join([pat.totp.wrong()] * 3) + "\n"
    first = scene.vm.ssh("factor", pat.key, "sudo -S id", stdin=wrong)
    assert not first.ok and first.err.count("wrong code") == 3, first
    second = scene.vm.ssh("factor", pat.key, "sudo -S id", stdin=wrong)
    assert not second.ok and "locked for another" in second.err, second
    right = scene.vm.ssh("factor", pat.key, "sudo -S id", stdin=f"{pat.totp.code()}\n")
    assert not right.ok and right.err.count("locked for another") == 1 and ROOT not in right.out, right


def test_sudo_reads_the_code_from_its_standard_input(scene):
    cid = scene.person("cid")
    done = scene.vm.ssh("factor", cid.key, "sudo -S id -un", stdin=f"{cid.totp.code()}\n")
    assert_in(done, "root")
    assert re.search(PROMPT.format("cid"), done.err), done.err
    empty = scene.vm.ssh("factor", cid.key, "sudo -S id -un", stdin="")
    assert not empty.ok and "root" not in empty.out, empty
    silent = scene.vm.ssh("factor", cid.key, "sudo -n id -un")
    assert not silent.ok and "a code is needed" in silent.err, silent


def test_without_a_grace_each_sudo_asks(scene):
    dan = scene.person("dan")
    with Terminal(scene, "brief", dan) as shell:
        shell.step_up()
        shell.assert_asks()


def test_a_script_of_roots_calls_sudo_without_a_code(scene):
    lou = scene.person("lou")
    with Terminal(scene, "brief", lou) as shell:
        shell.start("sudo sudo -u alice id -un")
        shell.prompt()
        shell.give(lou.totp.code())
        status, text = shell.end()
        assert status == 0 and "alice" in text, text


def test_sudo_that_asks_for_no_password_is_held_to_the_code_too(scene):
    eve = scene.person("eve")
    with Terminal(scene, "factor", eve) as shell:
        shell.assert_denied("sudo did not ask for it", "sudo /usr/bin/whoami")
        shell.step_up()
        status, text = shell.run("sudo /usr/bin/whoami")
        assert status == 0 and "root" in text, text


def test_policy_decides_where_sudo_is_free_closed_or_left_alone(scene):
    fay = scene.person("fay")
    assert_in(scene.vm.ssh("free", fay.key, "sudo -S id -un"), "root")
    closed = scene.vm.ssh("none", fay.key, "sudo -S id -un", stdin="\n")
    assert not closed.ok and "policy allows no sudo" in closed.err, closed
    alone = scene.vm.ssh("unsaid", fay.key, "sudo -S id -un", stdin=f"{PASSWORD}\n")
    assert_in(alone, "root")
    wrong = scene.vm.ssh("unsaid", fay.key, "sudo -S id -un", stdin="wrong\n")
    assert not wrong.ok and "root" not in wrong.out, wrong


def test_the_machines_own_accounts_are_left_alone_with_and_without_a_broker(scene, new_key):
    key = new_key("local")
    scene.vm.authorized_keys("local", key)

    def check():
        assert_in(scene.vm.ssh("local", key, "sudo -S id -un", stdin=f"{PASSWORD}\n"), "root")
        wrong = scene.vm.ssh("local", key, "sudo -S id -un", stdin="wrong\n")
        assert not wrong.ok and "root" not in wrong.out, wrong

    check()
    scene.broker.stop()
    scene.vm.stop_agent()
    check()


def test_a_lock_ends_the_grace(scene):
    gus = scene.person("gus")
    with Terminal(scene, "factor", gus) as shell:
        shell.step_up()
        scene.lock(gus)
        shell.assert_denied("your unlock has ended")


def test_a_revocation_ends_the_session_and_its_sudo(scene):
    hal = scene.person("hal")
    with Terminal(scene, "factor", hal) as shell:
        shell.step_up()
        shell.session.send("sudo sleep 600\n")
        scene.broker.as_admin("revoke", "user", "hal", "--reason", "test")
        wait_for(lambda: not shell.session.running, 20, "the session to end")
    left = scene.vm.run("pgrep", "-x", "sleep", "--uid", "0", check=False)
    assert left.returncode == 1, left.stdout


def test_without_a_broker_only_a_running_grace_opens(scene):
    ida = scene.person("ida")
    with Terminal(scene, "factor", ida) as first, Terminal(scene, "factor", ida) as second, \
            Terminal(scene, "free", ida) as free:
        first.step_up()
        scene.broker.stop()
        wait_for(lambda: not scene.vm.agent_status()["connected"], 20, "the agent to lose its broker")
        status, text = first.run()
        assert status == 0 and ROOT in text, text
        second.assert_denied("the broker cannot be reached")
        status, text = free.run()
        assert status == 0 and ROOT in text, text


def test_without_an_agent_managed_logins_have_no_sudo_and_a_restart_forgets_the_grace(scene):
    jim = scene.person("jim")
    with Terminal(scene, "factor", jim) as shell, Terminal(scene, "free", jim) as free:
        shell.step_up()
        scene.vm.stop_agent()
        shell.assert_denied("does not answer")
        free.assert_denied("does not answer")
        scene.vm.start_agent().await_serving()
        shell.assert_asks()
        status, text = free.run()
        assert status == 0 and ROOT in text, text


def test_what_stays_behind_after_logout_has_no_sudo(scene):
    kim = scene.person("kim")
    with Terminal(scene, "factor", kim) as shell:
        shell.step_up()
        # It waits for a file, and its sudo comes when the session is over.
        shell.run("rm -f go left; (setsid nohup sh -c 'until test -e go; do sleep 0.1; done; "
                  "sudo -n id >left 2>&1; echo over >>left' >/dev/null 2>&1 &)")
        monitor = next(session["monitor_pid"] for session in scene.vm.agent_status()["sessions"]
                       if session["user"] == "kim")
        shell.session.send("exit\n")
        shell.session.wait()
    wait_for(lambda: scene.vm.run("test", "-e", f"/proc/{monitor}", check=False).returncode != 0, 20, "sshd to end")
    scene.vm.run("touch", "/home/factor/go")
    said = wait_for(lambda: re.search(r"(?s).*over", scene.vm.run("cat", "/home/factor/left", check=False).stdout), 20,
                    "the job that stayed behind")[0]
    assert ROOT not in said and "not inside of a login by Latchkey" in said, said
