# SPDX-License-Identifier: Apache-2.0
"""The scene that most tests begin with: a broker, a VM that has joined it, and people whom policy lets in."""

import contextlib
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from support.wait import wait_for

TOKEN = re.compile(r"lk1\.\S+")


class Scene:
    """`people` are in group `demo`, which may log in to the VM as alice's Unix account."""

    def __init__(self, broker, vm, login="alice"):
        self.broker = broker
        self.vm = vm
        self.account = login
        self.login = vm.login(login)
        broker.as_admin("group", "add", "demo")
        broker.as_admin("grant", "add", "--group", "demo", "--vm", "*", "--login", self.login,
                        "--allow", "pty,port-forwarding")
        self.join(vm)

    def join(self, vm):
        vm.join(self.token())
        self.await_managed(vm)

    def token(self, *words):
        return TOKEN.search(self.broker.as_admin("vm", "token", *words))[0]

    def await_managed(self, vm):
        """The VM has heard which logins policy names for it."""
        wait_for(lambda: self.login in vm.agent_status().get("managed_logins", []), 15,
                 lambda: f"{vm.name} to manage {self.login}: {vm.agent_status()}")

    def person(self, name, unlocked=True):
        person = self.broker.enrol(name, "demo")
        if not unlocked:
            self.lock(person)
        return person

    def unlock(self, person):
        done = self.broker.by(person)
        assert done.ok, done.err
        return done

    def lock(self, person):
        done = self.broker.by(person, "lock")
        assert done.ok, done.err

    def certificate(self, person, folder):
        return self.broker.certificate(person, folder / f"{person.name}-cert")

    def plain(self, person, command="id -un", **how):
        return self.vm.ssh(self.account, person.key, command, **how)

    def with_certificate(self, person, file, command="id -un", **how):
        """A login by the certificate alone: ssh has it and its key from an agent, and never shows the plain key."""
        with certificate_agent(person, file) as options:
            return self.vm.ssh(self.account, file, command, options=options, **how)

    def certificate_session(self, person, file):
        """A session that was opened by the certificate alone."""
        with certificate_agent(person, file) as options:
            return self.vm.open_shell(self.account, file, options=options)

    def session(self, person, **how):
        return self.vm.open_shell(self.account, person.key, **how)

    def admin_json(self, *words):
        return json.loads(self.broker.as_admin(*words, "--json"))


@contextlib.contextmanager
def certificate_agent(person, certificate):
    """An ssh-agent that holds the person's certificate; gives the ssh options that use it."""
    folder = Path(tempfile.mkdtemp(prefix="lk-agent-"))
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", folder / "socket"], stdout=subprocess.DEVNULL)
    try:
        wait_for((folder / "socket").exists, 10, "ssh-agent to listen")
        shutil.copy(person.key.path, folder / "id")
        shutil.copy(certificate, folder / "id-cert.pub")
        subprocess.run(["ssh-add", "-q", folder / "id"], check=True, capture_output=True,
                       env={"SSH_AUTH_SOCK": str(folder / "socket"), "PATH": "/usr/bin:/bin"})
        yield [f"IdentityAgent={folder}/socket"]
    finally:
        agent.kill()
        agent.wait()
        shutil.rmtree(folder)


def assert_in(result, login):
    assert result.ok, f"{result.code}: {result.err}"
    assert result.out.strip() == login


def assert_out(result):
    assert result.code == 255, f"let in: {result.out}"
    assert "Permission denied" in result.err or "Connection closed" in result.err or "closed by" in result.err, result.err
