# SPDX-License-Identifier: Apache-2.0
"""A machine that people log in to: a stock sshd and, where a test wants it, our agent, helper and PAM module.

One interface, two kinds: LabVm (a systemd VM) and LocalVm (an sshd on loopback). A test names accounts by their
short names (alice, bob) and asks login() for the real one.
"""

import json
import subprocess
from abc import ABC, abstractmethod

from . import ssh
from .wait import wait_for


class Vm(ABC):
    """Set by the kinds: name, network (where clients run), address, port, agent_config (its path in the VM)."""

    # --- sshd -----------------------------------------------------------------------------------------------

    @abstractmethod
    def start(self):
        """Boots it; returns self once its sshd listens."""

    @abstractmethod
    def remove(self):
        """Ends it and everything in it."""

    @abstractmethod
    def login(self, account):
        """The Unix account's name there; the account is made if it is new."""

    @abstractmethod
    def authorized_keys(self, account, *keys):
        """Writes the account's own ~/.ssh/authorized_keys."""

    @abstractmethod
    def argv(self, *words):
        """argv that runs `words` as root in the VM."""

    @abstractmethod
    def sshd_log(self):
        """What sshd logged so far."""

    def run(self, *words, stdin="", check=True):
        return subprocess.run(self.argv(*words), input=stdin, capture_output=True, text=True, check=check,
                              timeout=60)

    def ssh(self, account, key, *command, **how):
        """One login from start to end: ssh.Result. `cert`, `tty`, `stdin`, `seconds`, `options`: see ssh.py."""
        return ssh.run(self.network, self.address, self.port, self.login(account), key, *command, **how)

    def open_session(self, account, key, *command, **how):
        """A login that goes on: ssh.Session."""
        return ssh.open_session(self.network, self.address, self.port, self.login(account), key, *command, **how)

    def open_shell(self, account, key, **how):
        """A session that has begun for certain, and lasts until somebody ends it."""
        session = self.open_session(account, key, "echo begun && exec sleep infinity", **how)
        try:
            session.expect("begun")
        except Exception:
            session.close()
            raise
        return session

    # --- The agent ------------------------------------------------------------------------------------------

    @abstractmethod
    def start_agent(self):
        """latchkey-agent run; returns once it listens for the helper."""

    @abstractmethod
    def stop_agent(self):
        """Ends it as an operator does."""

    @abstractmethod
    def kill_agent(self):
        """kill -9."""

    @abstractmethod
    def signal_agent(self, name):
        """Sends it a signal: "STOP" is a VM that sleeps, "CONT" wakes it."""

    @property
    @abstractmethod
    def state(self):
        """Its state folder, as a path in the VM."""

    @abstractmethod
    def agent_log(self):
        """What the agent logged so far."""

    @property
    @abstractmethod
    def agent_program(self):
        """Its path in the VM."""

    def agent_command(self, *words, check=True):
        """One command of latchkey-agent (join, doctor) on this VM's configuration."""
        return self.run(self.agent_program, *words, "--config", self.agent_config, check=check)

    def agent_status(self):
        """`latchkey-agent status --json`, as a dict; {} where the agent does not answer."""
        done = self.agent_command("status", "--json", check=False)
        return json.loads(done.stdout) if done.returncode == 0 else {}

    def join(self, token):
        """Joins a broker by a token and runs the agent until it serves."""
        self.agent_command("join", token, "--name", self.name)
        self.start_agent()
        return self.await_serving()

    def await_serving(self, seconds=20.0):
        wait_for(lambda: self.agent_status().get("serving"), seconds,
                 lambda: f"the agent of {self.name} to serve; its log: {self.agent_log()}")
        return self
