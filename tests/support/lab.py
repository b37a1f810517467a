# SPDX-License-Identifier: Apache-2.0
"""The lab of systemd VMs: vmlab as an object, and LabVm, a VM in it."""

import os
import platform
import shlex
import shutil
import subprocess
from pathlib import Path

from . import ssh
from .network import Network
from .place import VMLAB, lab_environment
from .template import fill, setting_lines
from .vm import Vm
from .wait import wait_for

HOOK = Path(__file__).parent / "lab_hook"
HELPER_USER = "latchkey-akc"
BUS_POLICY = Path(__file__).parents[2] / "packaging/agent/org.latchkey.Agent1.conf"


def lab_answer():
    """(can this machine boot VMs?, vmlab's line about it)"""
    done = subprocess.run([VMLAB, "can"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return done.returncode == 0, (done.stdout + done.stderr).strip()


class Lab:
    """One lab of this test run: a hub network (192.0.2.1, where brokers and clients run) and its VMs."""

    def __init__(self, place, suite="bookworm"):
        self.suite = suite
        self.name = f"lk{os.getpid()}-{suite[:1]}"
        self.network = Network("192.0.2.1", ["nsenter", f"--net=/run/netns/{self.name}"])
        self.numbers = set()
        self.environment = lab_environment(self.name, suite)
        place.started_lab(self.name, suite)
        self.vmlab("net", "true")  # a broker may start before the first VM

    def vmlab(self, *words, environment=None, **how):
        how = {"stdin": subprocess.DEVNULL, "text": True, "capture_output": True, "check": True, **how}
        if "input" in how:
            del how["stdin"]
        done = subprocess.run([str(word) for word in (VMLAB, *words)],
                              env={**self.environment, **(environment or {})}, **{**how, "check": False})
        if how["check"] and done.returncode != 0:
            raise RuntimeError(f"vmlab {shlex.join(str(word) for word in words)}: {done.returncode} "
                               f"{done.stderr or done.stdout}")
        return done

    def free_number(self):
        number = next(number for number in range(1, 201) if number not in self.numbers)
        self.numbers.add(number)
        return number

    def clean(self):
        self.vmlab("clean")


class LabVm(Vm):
    """A booted systemd VM. With `agent`, our programs and snippets are put into it before it boots."""

    agent_config = "/etc/latchkey/agent.toml"
    agent_program = "/usr/sbin/latchkey-agent"
    socket = "/run/latchkey-agent/agent.sock"

    def __init__(self, place, lab, build=None, name=None, agent=True, **agent_settings):
        self.place = place
        self.lab = lab
        self.build = build if agent else None
        self.number = lab.free_number()
        self.name = name or f"vm{self.number}"
        self.network = lab.network
        self.address = f"192.0.2.{10 + self.number}"
        self.port = 22
        self.agent_settings = agent_settings
        self.debs = self.build.debs(lab.suite, "latchkey-agent") if self.build else []

    def start(self):
        environment = {}
        if self.build:
            environment = {"VMLAB_HOOK": str(HOOK), "LATCHKEY_LAB_TREE": str(self._tree()),
                           "LATCHKEY_LAB_HELPER_USER": HELPER_USER}
            if self.debs:
                environment["VMLAB_DEBS"] = " ".join(str(path) for path in self.debs)
        return self.boot(environment)

    def boot(self, environment):
        """Boots it with these settings of vmlab; returns self once its PID 1 is ready."""
        # No pipes: the VM's processes would hold them open.
        log = self.place.folder(f"boot-{self.name}") / "vmlab.log"
        self.place.log(log)
        with open(log, "wb") as out:
            done = self.lab.vmlab("up", self.number, environment=environment, capture_output=False, stdout=out,
                                  stderr=out, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"vmlab up {self.number}: {log.read_text(encoding='utf-8')}")
        return self

    def _tree(self):
        """The files to lay over the VM's root: settings of the test alone where the packages are installed, else also
        what they would install."""
        tree = self.place.folder(f"tree-{self.name}")
        helper = "/usr/libexec/latchkey/latchkey-authorized-keys"
        texts = {
            "etc/latchkey/agent.toml": fill(
                "agent.toml", state="/var/lib/latchkey-agent", socket=self.socket, helper_user=HELPER_USER,
                logind="auto", more=setting_lines(self.agent_settings)),
            "etc/ssh/sshd_config.d/01-lab.conf": fill(
                "sshd_lab.conf", penalties="PerSourcePenalties no" if self.lab.suite != "bookworm" else ""),
        }
        if self.debs:
            texts["etc/systemd/system/latchkey-agent.service.d/lab.conf"] = fill("latchkey-agent-lab.conf")
        else:
            self._lay_programs(tree, helper)
            texts["etc/systemd/system/latchkey-agent.service"] = fill("latchkey-agent.service")
            texts["usr/share/dbus-1/system.d/org.latchkey.Agent1.conf"] = BUS_POLICY.read_text(encoding="utf-8")
            texts["etc/ssh/sshd_config.d/00-latchkey.conf"] = fill(
                "sshd_latchkey.conf", helper=helper, socket=self.socket, helper_user=HELPER_USER, penalties="")
        for name, text in texts.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text(text, encoding="utf-8")
        return tree

    def _lay_programs(self, tree, helper):
        for source, target in (
                ("latchkey-agent", self.agent_program),
                ("latchkey-authorized-keys", helper),
                ("pam_latchkey.so", f"/usr/lib/{platform.machine()}-linux-gnu/security/pam_latchkey.so")):
            path = tree / target.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.build.program(source), path)
            path.chmod(0o755)

    def remove(self):
        self.lab.vmlab("down", self.number)
        self.lab.numbers.discard(self.number)

    def login(self, account):
        if self.run("id", account, check=False).returncode != 0:
            self.run("useradd", "--create-home", "--shell", "/bin/bash", account)
        return account

    def authorized_keys(self, account, *keys):
        owner = self.login(account)
        self.run("sh", "-c", 'home=$(getent passwd "$1" | cut -d: -f6) && install -d -m 700 -o "$1" "$home/.ssh" && '
                 'cat >"$home/.ssh/authorized_keys" && chown "$1" "$home/.ssh/authorized_keys" && '
                 'chmod 600 "$home/.ssh/authorized_keys"', "authorized_keys", owner,
                 stdin="".join(f"{key.public}\n" for key in keys))

    def argv(self, *words):
        return ["env", *(f"{name}={self.lab.environment[name]}" for name in ("VMLAB_SUITE", "VMLAB_NS", "VMLAB_RUN")),
                str(VMLAB), "in", str(self.number), *(str(word) for word in words)]

    def sshd_log(self):
        return self.run("journalctl", "--no-pager", "-u", "ssh").stdout

    # --- The agent ------------------------------------------------------------------------------------------

    def start_agent(self):
        self.run("systemctl", "start", "latchkey-agent")
        wait_for(lambda: self.run("test", "-S", self.socket, check=False).returncode == 0, 20,
                 lambda: f"the agent's socket; its log: {self.agent_log()}")
        return self

    def stop_agent(self):
        self.run("systemctl", "stop", "latchkey-agent")

    def kill_agent(self):
        self.run("systemctl", "kill", "--signal=KILL", "latchkey-agent")

    def signal_agent(self, name):
        self.run("systemctl", "kill", f"--signal={name}", "latchkey-agent")

    state = "/var/lib/latchkey-agent"

    def agent_log(self):
        return self.run("journalctl", "--no-pager", "-u", "latchkey-agent").stdout

    def lab_key(self):
        """The lab's own key, which every account made at boot accepts."""
        return Path(self.lab.environment["VMLAB_RUN"]) / "key"

    def lab_ssh(self, account, *command):
        return ssh.run(self.network, self.address, self.port, account, self.lab_key(), *command)
