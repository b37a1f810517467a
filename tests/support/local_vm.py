# SPDX-License-Identifier: Apache-2.0
"""LocalVm: a stock sshd on a loopback address, without systemd. Needs root, but not CAP_SYS_ADMIN."""

import itertools
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from .daemon import Daemon
from .keys import run as run_tool
from .network import Network
from .place import alive, descendants, kill
from .template import fill, setting_lines
from .vm import Vm
from .wait import wait_for

SSHD = Path("/usr/sbin/sshd")
_numbers = itertools.count(1)


class LocalVm(Vm):
    """All of it lies in a folder of the place. With `agent`, sshd asks our helper and our PAM module."""

    def __init__(self, place, build=None, name=None, agent=True, **agent_settings):
        self.place = place
        self.build = build if agent else None
        number = next(_numbers)
        self.name = name or f"local{number}"
        self.network = Network()
        self.address = f"127.0.77.{number % 250 + 1}"
        self.port = Network(self.address).free_port()
        self.folder = place.folder(f"vm-{self.name}")
        # PAM's service is the name of the program in OpenSSH 9.2, a setting in 10.
        self.service = f"sshd-lk-{os.getpid()}-{number}"
        self.sshd_program = self.folder / self.service
        self.socket = self.folder / "agent.sock"
        self.sessions = self.folder / "sessions"  # beside the socket: of this boot
        self.agent_config = self.folder / "agent.toml"
        self.sshd = None
        self.agent = None
        self.agent_settings = agent_settings

    def start(self):
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.sshd_program.symlink_to(SSHD)
        run_tool("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / "host_key")
        helper_part = self._install_agent() if self.build else ""
        if not self.build:
            self._write_pam(account="", session="")
        config = self.folder / "sshd_config"
        config.write_text(fill(
            "sshd_config", address=self.address, port=self.port, folder=self.folder, latchkey=helper_part,
            pam_service=f"PAMServiceName {self.service}" if _sshd_accepts(f"PAMServiceName={self.service}") else ""),
            encoding="utf-8")
        # sshd's children write to the file that -E names, not to our pipe or stderr.
        argv = [self.sshd_program, "-D", "-f", config, "-E", self.folder / "sshd.log"]
        self.sshd = Daemon(self.place, argv, self.folder / "sshd.log", ready_option=False).start()
        wait_for(self._listens, 10, lambda: f"sshd to listen: {self.sshd_log()}")
        return self

    def _install_agent(self):
        helper = Path(shutil.copy2(self.build.program("latchkey-authorized-keys"), self.folder))
        module = Path(shutil.copy2(self.build.program("pam_latchkey.so"), self.folder))
        helper_user = self.place.account("akc")
        state = self.folder / "agent-state"
        state.mkdir(mode=0o700)
        self.agent_config.write_text(
            self.build.fill("agent.toml", state=state, socket=self.socket, helper_user=helper_user, logind="off",
                 more=setting_lines(self.agent_settings)), encoding="utf-8")
        line = f"required {module} socket={self.socket} managed={state}/managed-logins scope=optional"
        self._write_pam(account=f"account {line}", session=f"session {line}")
        exempt = "PerSourcePenalties no" if _sshd_accepts("PerSourcePenalties=no") else ""
        return self.build.fill("sshd_latchkey.conf", helper=helper, socket=self.socket, helper_user=helper_user,
                               penalties=exempt)

    def _write_pam(self, account, session):
        self.place.pam_service(self.service, fill("pam_local", account=account, session=session))

    def _listens(self):
        if not self.sshd.running:
            raise RuntimeError(f"sshd ended: {self.sshd_log()}")
        with socket.socket() as probe:
            return probe.connect_ex((self.address, self.port)) == 0

    def remove(self):
        sessions = descendants(self.sshd.pid) if self.sshd and self.sshd.running else []
        for daemon in (self.agent, self.sshd):
            if daemon and daemon.running:
                daemon.stop()
        for pid in sessions:  # they outlive the sshd that began them
            kill(pid)
        wait_for(lambda: not any(alive(pid) for pid in sessions), 10, "the end of the sessions")
        (Path("/etc/pam.d") / self.service).unlink(missing_ok=True)

    def login(self, account):
        return self.place.account(account)

    def authorized_keys(self, account, *keys):
        owner = self.login(account)
        folder = self.place.home(account) / ".ssh"
        folder.mkdir(mode=0o700, exist_ok=True)
        file = folder / "authorized_keys"
        file.write_text("".join(f"{key.public}\n" for key in keys), encoding="utf-8")
        for path in (folder, file):
            shutil.chown(path, owner, owner)

    def argv(self, *words):
        return [str(word) for word in words]

    def sshd_log(self):
        return self.sshd.log_text()

    # --- The agent ------------------------------------------------------------------------------------------

    @property
    def agent_program(self):
        return self.build.program("latchkey-agent")

    def start_agent(self, **environment):
        self.agent = Daemon(self.place, [self.agent_program, "run", "--config", self.agent_config],
                            self.folder / "agent.log",
                            {**self.build.environment(self.place.reports),
                             "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={self.folder}/no-bus", **environment}).start()
        return self

    def stop_agent(self):
        return self.agent.stop()

    def kill_agent(self):
        self.agent.kill()

    def signal_agent(self, name):
        os.kill(self.agent.pid, getattr(signal, f"SIG{name}"))

    @property
    def state(self):
        return self.folder / "agent-state"

    def agent_log(self):
        return self.agent.log_text() if self.agent else ""


def _sshd_accepts(option):
    """Whether this machine's sshd knows a setting that came after OpenSSH 9.2."""
    done = subprocess.run([SSHD, "-T", "-f", "/dev/null", "-o", option], capture_output=True, text=True, check=False)
    return "Bad configuration option" not in done.stderr
