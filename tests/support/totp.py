# SPDX-License-Identifier: Apache-2.0
"""One-time codes for a test's people, by oathtool, never one twice.

A broker takes the codes of three time steps (before, now, after) and each once, in rising order. So code() gives
the earliest of the three that is later than all it gave before: three at once, then one every 30 s.
"""

import subprocess
import time

from .wait import wait_for

STEP_SECONDS = 30
MARGIN_SECONDS = 5  # the step before is not used when it is about to leave the window


class Totp:
    def __init__(self, secret, clock=time.time):
        self.secret = secret
        self._clock = clock  # the broker's clock, where a test shifts it
        self._last_step = 0

    def code(self):
        step = wait_for(self._unused_step, 2 * STEP_SECONDS, "the next time step", every=0.2)
        self._last_step = step
        return self.at(step)

    def at(self, step):
        """The code of a given step, used or not: for tests of codes that must be refused."""
        argv = ["oathtool", "--totp", "--base32", f"--now=@{step * STEP_SECONDS}", "-"]
        return subprocess.run(argv, input=self.secret, capture_output=True, text=True, check=True).stdout.strip()

    def last(self):
        """The code given last, for tests of replay."""
        return self.at(self._last_step)

    def wrong(self):
        """Six digits that are the code of no step near now."""
        near = {self.at(self._now_step() + away) for away in range(-3, 4)}
        return next(code for code in (f"{number:06d}" for number in range(10)) if code not in near)

    def _now_step(self):
        return int(self._clock()) // STEP_SECONDS

    def _unused_step(self):
        now = self._now_step()
        earliest = now - 1 if self._clock() % STEP_SECONDS < STEP_SECONDS - MARGIN_SECONDS else now
        step = max(earliest, self._last_step + 1)
        return step if step <= now + 1 else None
