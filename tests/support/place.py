# SPDX-License-Identifier: Apache-2.0
"""The place of one test run on this machine: a root-owned folder, test accounts, PAM services, processes.

sshd refuses helpers beneath a world-writable folder such as /tmp, so the folder is /var/lib/latchkey-tests/<pid>.
All that is made outside of it (accounts, PAM services, processes, labs) is noted in its file `manifest` first:
remove() takes it away again, and the next run does so for runs that were killed. Main thread only.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
from pathlib import Path

from .wait import wait_for

ROOT = Path("/var/lib/latchkey-tests")
TURN = Path("/run/lock/latchkey-tests")  # held where a folder without its owner's note, or an empty ROOT, is normal
VMLAB = Path(__file__).parent / "vmlab"


class Place:
    def __init__(self):
        self.path = ROOT / str(os.getpid())
        self.reports = self.path / "reports"  # sanitizer findings
        self.logs = []
        with _turn():
            _sweep()
            for folder in (ROOT, self.path, self.reports):
                folder.mkdir(exist_ok=True)
                folder.chmod(0o755)
            self.reports.chmod(0o1777)  # the broker and the signer are other users
            self._note("owner", os.getpid(), _start_time(os.getpid()))

    def folder(self, name):
        """A new folder of this name (or name-2, name-3 …), 0755 and root's, as its parents are."""
        number = 1
        while True:
            path = self.path / (name if number == 1 else f"{name}-{number}")
            if not path.exists():
                path.mkdir()
                path.chmod(0o755)
                return path
            number += 1

    def account(self, name):
        """The real name of the test account `name`; the account is made at the first call."""
        real = f"lk{os.getpid()}{name}"
        home = self.path / "home" / name
        if not home.exists():
            self._note("account", real)
            subprocess.run(
                ["useradd", "--no-create-home", "--home-dir", home, "--shell", "/bin/sh", "--user-group",
                 "--no-log-init", real], check=True, stdin=subprocess.DEVNULL)
            home.mkdir(parents=True)
            shutil.chown(home, real, real)
            home.chmod(0o755)
        return real

    def home(self, name):
        return self.path / "home" / name

    def pam_service(self, name, text):
        path = Path("/etc/pam.d") / name
        self._note("pam", name)
        path.write_text(text)

    def started(self, pid):
        self._note("process", pid, _start_time(pid))

    def started_lab(self, name, suite):
        self._note("lab", name, suite)

    def log(self, path):
        """Names a log whose end is shown with each failed test."""
        self.logs.append(Path(path))

    def sanitizer_reports(self):
        return sorted(self.reports.glob("sanitizer*"))

    def remove(self):
        _remove(self.path)
        with _turn(), contextlib.suppress(OSError):
            ROOT.rmdir()  # fails where another run has its place

    def _note(self, *words):
        with open(self.path / "manifest", "a", encoding="utf-8") as manifest:
            print(*words, file=manifest)


def lab_environment(name, suite):
    """What tells vmlab which lab is meant."""
    return {**os.environ, "VMLAB_SUITE": suite, "VMLAB_NS": name, "VMLAB_RUN": f"/run/vmlab/{name}"}


@contextlib.contextmanager
def _turn():
    """Several runs start at once (pytest's workers): one at a time makes its place, or takes ROOT away."""
    with open(TURN, "w", encoding="utf-8") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # closing it gives the turn back
        yield


def _sweep():
    """Removes the places of runs whose process is gone."""
    for path in sorted(ROOT.glob("[0-9]*")):
        notes = _notes(path)
        owner = next((words for words in notes if words[0] == "owner"), None)
        if owner is None or _start_time(int(owner[1])) != owner[2]:
            _remove(path)


def _remove(path):
    for kind, name, *more in reversed(_notes(path)):
        if kind == "process" and _start_time(int(name)) == more[0]:
            kill(int(name))
        elif kind == "lab":
            subprocess.run([VMLAB, "clean"], check=True, stdin=subprocess.DEVNULL, env=lab_environment(name, *more))
        elif kind == "pam":
            (Path("/etc/pam.d") / name).unlink(missing_ok=True)
        elif kind == "account":
            _remove_account(name)
    shutil.rmtree(path, ignore_errors=True)


def _remove_account(name):
    found = subprocess.run(["id", "-u", name], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        return
    uid = int(found.stdout)

    def none_left():
        pids = [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _uid(entry) == uid]
        for pid in pids:
            kill(pid)
        return not pids

    wait_for(none_left, 10, f"the end of {name}'s processes")
    subprocess.run(["userdel", name], check=True, stdin=subprocess.DEVNULL)


def _notes(path):
    try:
        return [line.split() for line in (path / "manifest").read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return []


def _start_time(pid):
    """Field 22 of /proc/PID/stat, which tells a process from a later one of the same pid; None if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return None


def _uid(entry):
    try:
        return entry.stat().st_uid
    except FileNotFoundError:
        return None


def descendants(pid):
    """The pids of all processes below `pid`, itself not among them."""
    parents = {int(entry.name): _parent(entry) for entry in Path("/proc").glob("[0-9]*")}
    found, added = {pid}, True
    while added:
        added = {child for child, parent in parents.items() if parent in found} - found
        found |= added
    return sorted(found - {pid})


def alive(pid):
    """Whether it still runs: a process that ended and waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _parent(entry):
    try:
        return int((entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def kill(pid):
    """SIGKILL, to a process that may have ended meanwhile."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
