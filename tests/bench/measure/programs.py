# SPDX-License-Identifier: Apache-2.0
"""The release build and the bench programs in it."""

import json
import os
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
# A build that is named is measured as it is; the release build is made first.
BUILD = REPOSITORY / os.environ.get("LATCHKEY_BUILD", "build/release")
BENCH = BUILD / "bench"


def make():
    """Packages, then the release build as the end-to-end tests have it, then what stands in this folder."""
    if "LATCHKEY_BUILD" in os.environ:
        return
    _quietly(REPOSITORY / "packaging" / "deps", "build", "bench")
    _quietly("cmake", "--preset", "release", "-DLATCHKEY_TESTS=OFF", "-DLATCHKEY_BENCH=ON")
    _quietly("cmake", "--build", BUILD, "-j", os.cpu_count(), "--target", "all", "bench-programs")


def _quietly(*argv):
    done = subprocess.run([str(word) for word in argv], cwd=REPOSITORY, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{done.stdout[-6000:]}\ntests/bench/run: {' '.join(map(str, argv))} failed")


def sized(full, small):
    """`full`; with LATCHKEY_BENCH_TRY set `small`, by which every program and row is tried, and no figure means anything."""
    return small if "LATCHKEY_BENCH_TRY" in os.environ else full


def run_json(*argv, stdin="", core=None):
    """One bench program from start to end; what it printed, as a dict. `core`: the only one that it may use."""
    pin = ["taskset", "-c", str(core)] if core is not None else []
    done = subprocess.run([*pin, *(str(word) for word in argv)], input=stdin, capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{Path(str(argv[0])).name}: {done.stderr.strip()}")
    return json.loads(done.stdout)
