# SPDX-License-Identifier: Apache-2.0
"""What the kernel says of a process: its children, its processor time, its memory."""

import collections
import re
import time
from pathlib import Path

PSS = re.compile(r"^Pss: +(\d+) kB", re.MULTILINE)


def tree(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in tree(int(child)))]


def cpu_seconds(pids):
    """Processor time that the processes have had, to the nanosecond: the kernel's clock of a process."""
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)


def pss_kib(pid):
    """Its memory, with its share of what it shares."""
    return int(PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text())[1])


def pss_by_part(pid):
    """The same by file, heap and stack, in KiB, largest first."""
    parts = collections.Counter()
    part = None
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if PSS.match(line):
            parts[part] += int(PSS.match(line)[1])
        elif re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            part = Path((line.split(maxsplit=5) + ["other"])[5]).name
    return parts.most_common()


def wake_ups(pid):
    """How often its threads have gone to sleep so far, and so woken."""
    return sum(int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status.read_text(), re.MULTILINE)[1])
               for status in Path(f"/proc/{pid}/task").glob("*/status"))
