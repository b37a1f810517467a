# SPDX-License-Identifier: Apache-2.0
"""A long-running program of a test: started, known to be ready, stopped or killed by its pid."""

import os
import select
import signal
import subprocess
from pathlib import Path

from .wait import wait_for


class Daemon:
    """argv runs until stop() or kill(). With `ready_option` the program gets "--ready-fd N" and writes "ready\\n"
    to that descriptor once it listens; start() returns then, or raises with the end of the log."""

    def __init__(self, place, argv, log, environment=None, ready_option=True):
        self.place = place
        self.argv = [str(word) for word in argv]
        self.log = Path(log)
        self.environment = environment
        self.ready_option = ready_option
        self.process = None
        place.log(self.log)

    def start(self, seconds=20.0):
        read_end, write_end = os.pipe()
        argv = self.argv + (["--ready-fd", str(write_end)] if self.ready_option else [])
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment,
                pass_fds=[write_end] if self.ready_option else [], start_new_session=True, cwd="/")
        os.close(write_end)
        self.place.started(self.process.pid)
        try:
            if self.ready_option:
                self._await_ready(read_end, seconds)
        finally:
            os.close(read_end)
        return self

    def _await_ready(self, read_end, seconds):
        heard = b""
        while b"ready\n" not in heard:
            readable, _, _ = select.select([read_end], [], [], seconds)
            part = os.read(read_end, 64) if readable else b""
            if not part:
                why = f"ended with {self.process.wait(5)}" if readable else f"not ready after {seconds:g} s"
                self.kill()
                raise RuntimeError(f"{' '.join(self.argv)}: {why}\n{self.log_text()[-4000:]}")
            heard += part

    @property
    def pid(self):
        return self.process.pid

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def log_text(self):
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def stop(self, seconds=10.0):
        """Asks it to end by SIGTERM and returns its exit status; one that does not end is killed and reported."""
        if self.process is None:
            return None
        if self.running:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                raise RuntimeError(f"{self.argv[0]} did not end within {seconds:g} s of SIGTERM") from None
        self._end_group()
        return self.process.returncode

    def kill(self):
        """kill -9, as a power cut would: nothing of it gets to run again."""
        if self.running:
            self.process.kill()
            self.process.wait()
        self._end_group()

    def _end_group(self):
        """Its children (the broker's signer) end by themselves when it is gone; what does not is killed late."""
        def gone():
            try:
                os.killpg(self.process.pid, 0)
                return False
            except ProcessLookupError:
                return True

        try:
            wait_for(gone, 5, "the end of the children")
        except TimeoutError:
            os.killpg(self.process.pid, signal.SIGKILL)
