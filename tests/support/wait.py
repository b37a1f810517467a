# SPDX-License-Identifier: Apache-2.0
"""Waiting for something to become true, by looking often, with a deadline."""

import time


def wait_for(predicate, seconds=10.0, what="the condition", every=0.02):
    """Returns the first true value of predicate(); TimeoutError names `what` (a text, or a function that gives it)
    after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what() if callable(what) else what}")
        time.sleep(every)
