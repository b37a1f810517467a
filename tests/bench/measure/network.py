# SPDX-License-Identifier: Apache-2.0
"""A network namespace of our own whose loopback acknowledges at once.

On the usual loopback Nagle's algorithm and delayed acknowledgements put up to three stalls of 40 ms into one login,
which hide what is measured. Needs CAP_SYS_ADMIN.
"""

import os
import subprocess

MARK = "LATCHKEY_BENCH_NETWORK"
SET_UP = """
set -e
ip link set lo up
for route in 127.0.0.0/8 127.0.0.1; do
    ip route replace table local local $route dev lo proto kernel scope host src 127.0.0.1 quickack 1
done
# Who connects to 127.0.N.1 comes from there: agents on one machine would else be one address to the hub.
for number in $(seq 1 60); do
    ip route replace table local local 127.0.$number.0/24 dev lo proto kernel scope host src 127.0.$number.1 quickack 1
done
exec "$@"
"""


def is_private():
    return MARK in os.environ


def enter_private(argv):
    """Runs argv again inside of one, in place of this process; returns where that is not allowed."""
    into = ["unshare", "--net", "sh", "-c", SET_UP, "sh"]
    if subprocess.run([*into, "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0:
        os.execvpe(into[0], [*into, *argv], {**os.environ, MARK: "private"})
