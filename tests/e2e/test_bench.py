# SPDX-License-Identifier: Apache-2.0
"""The rows of the benchmarks that have much to go wrong are tried small, so that none rots. What they measure here means
nothing."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROWS = ["1", "2", "7", "8", "9", "10", "11", "12"]
REPOSITORY = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| +(\d+) +\|.*\| (?:met|NOT MET) +\|$", re.MULTILINE)


@pytest.mark.local_only
def test_each_row_prints_its_figure_beside_its_floor(backend, build):  # pylint: disable=unused-argument
    programs = build.folder / "bench"
    if not programs.is_dir():
        pytest.skip("this build has no bench programs")
    done = subprocess.run([REPOSITORY / "tests/bench/run", *ROWS], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False, timeout=300,
                          env={**os.environ, "LATCHKEY_BUILD": str(build.folder), "LATCHKEY_BENCH_TRY": "1"})
    assert done.returncode == 0, done.stderr[-4000:]
    assert set(ROW.findall(done.stdout)) == set(ROWS), done.stdout
