# SPDX-License-Identifier: Apache-2.0
"""Stock ssh as the tests' client: one session at a time, its prompts answered, its end awaited with a deadline."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from .wait import wait_for

ASKPASS = Path(__file__).parent / "askpass"
CLIENT_CHATTER = re.compile(r"^Warning: Permanently added .*\r?\n", re.MULTILINE)


@dataclass(frozen=True)
class Result:
    """How an ssh command ended: exit status (255: ssh itself, or the connection, failed; below 0: a signal)."""

    code: int
    out: str
    err: str

    @property
    def ok(self):
        return self.code == 0


class Prompts:
    """Answers ssh's prompts (keyboard-interactive, through SSH_ASKPASS) while a session lasts.

    `answer(prompt, session)` returns the text, or None for none; it runs in a thread of its own and may look at
    what the Session has shown so far. A text or a list of texts is given out in order."""

    def __init__(self, answer):
        self._answer = answer if callable(answer) else self._from_list(answer)
        self.session = None
        self.seen = []
        self._folder = tempfile.mkdtemp(prefix="lk-askpass-")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(f"{self._folder}/s")
        self._socket.listen(4)
        threading.Thread(target=self._serve, name="askpass", daemon=True).start()

    @staticmethod
    def _from_list(answers):
        remaining = iter([answers] if isinstance(answers, str) else list(answers))
        return lambda prompt, session: next(remaining, None)

    def environment(self):
        return {"SSH_ASKPASS": str(ASKPASS), "SSH_ASKPASS_REQUIRE": "force",
                "LATCHKEY_TEST_ASKPASS": f"{self._folder}/s"}

    def _serve(self):
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return  # closed
            with caller:
                prompt = b"".join(iter(lambda: caller.recv(4096), b"")).decode()
                self.seen.append(prompt)
                try:
                    answer = self._answer(prompt, self.session)
                except Exception as error:  # ssh goes on without an answer; the test sees why
                    self.seen.append(f"no answer: {error!r}")
                    answer = None
                if answer is not None:
                    caller.sendall(str(answer).encode())

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class Session:
    """One running ssh client. Its output is collected as it comes; close() ends it if it still runs."""

    def __init__(self, argv, prompts=None, environment=None):
        self.prompts = prompts
        self._output = {"out": "", "err": ""}
        if prompts:
            prompts.session = self
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            env=dict(os.environ, **(prompts.environment() if prompts else {}), **(environment or {})))
        self._readers = [threading.Thread(target=self._collect, args=pair, name=f"ssh {pair[0]}", daemon=True)
                         for pair in (("out", self.process.stdout), ("err", self.process.stderr))]
        for reader in self._readers:
            reader.start()

    def _collect(self, name, stream):
        for part in iter(lambda: os.read(stream.fileno(), 65536), b""):
            self._output[name] += part.decode(errors="replace")

    @property
    def out(self):
        return self._output["out"]

    @property
    def err(self):
        return CLIENT_CHATTER.sub("", self._output["err"])

    @property
    def all(self):
        return self.out + "\n" + self.err

    def _said(self):
        return f"stdout: {self.out!r} stderr: {self.err!r}"

    @property
    def running(self):
        return self.process.poll() is None

    def send(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def close_stdin(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass  # the client ended without reading all of it

    def expect(self, pattern, seconds=15.0, stream="out"):
        """Waits until the output matches; raises with all of the output if it ends or time is up first."""
        def seen():
            ended = not self.running
            if ended:
                for reader in self._readers:
                    reader.join(5)
            found = re.search(pattern, getattr(self, stream))
            if ended and not found:
                raise AssertionError(f"ssh ended with {self.process.returncode} before {pattern!r}; {self._said()}")
            return found

        return wait_for(seen, seconds, lambda: f"{pattern!r} in {stream}; {self._said()}")

    def wait(self, seconds=15.0):
        """The client's end as a Result; TimeoutError if it still runs after `seconds`."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"ssh still runs after {seconds:g} s; {self._said()}") from None
        for reader in self._readers:
            reader.join(5)
        self._release()
        return Result(self.process.returncode, self.out, self.err)

    def close(self):
        if self.running:
            self.process.kill()
            self.process.wait()
        self._release()

    def _release(self):
        self.close_stdin()
        if self.prompts:
            self.prompts.close()
            self.prompts = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def arguments(network, address, port, user, key, command=(), cert=None, tty=False, options=()):
    """argv of a stock ssh that reads no configuration and knows exactly one key (and, with cert, one certificate).

    A certificate beside the key file (id-cert.pub) is used by ssh too: keep it elsewhere to test the plain key."""
    settings = [*options,  # first: ssh takes the first value that it reads
                "IdentitiesOnly=yes", "IdentityAgent=none", "StrictHostKeyChecking=no", "ConnectTimeout=15",
                "UserKnownHostsFile=/dev/null", "GlobalKnownHostsFile=/dev/null", "ControlMaster=no",
                "PreferredAuthentications=publickey,keyboard-interactive", "NumberOfPasswordPrompts=1"]
    if cert:
        settings.append(f"CertificateFile={cert}")
    return [*network.prefix, "ssh", "-F", "/dev/null", "-tt" if tty else "-T", "-p", str(port),
            "-i", str(getattr(key, "path", key)),
            *(word for setting in settings for word in ("-o", setting)), f"{user}@{address}", *command]


def open_session(network, address, port, user, key, *command, answers=None, environment=None, **how):
    """Starts ssh and returns its Session at once. `answers`: for Prompts; None: no prompt is answered."""
    options = ["BatchMode=yes"] if answers is None else []
    argv = arguments(network, address, port, user, key, command,
                     **{**how, "options": [*options, *how.get("options", ())]})
    return Session(argv, None if answers is None else Prompts(answers), environment)


def run(network, address, port, user, key, *command, stdin="", seconds=30.0, **how):
    """One ssh command from start to end, with `stdin` as its whole input."""
    with open_session(network, address, port, user, key, *command, **how) as session:
        try:
            session.send(stdin)
        except BrokenPipeError:
            pass  # ssh ended before it read its input: the result says why
        session.close_stdin()
        return session.wait(seconds)
