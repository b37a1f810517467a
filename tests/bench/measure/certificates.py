# SPDX-License-Identifier: Apache-2.0
"""Row 1: certificates made in process. Row 2: certificates issued by a running broker, each recorded first."""

from .programs import BENCH, run_json, sized
from .stand import made_up_keys, new_stand
from .table import Figure

AGENTS = 16
ROUNDS = sized(5, 1)
KEYS = sized(16_000, 200)  # more than the rounds can use up


def in_process():
    found = run_json(BENCH / "certificate_rate", sized(40, 1), core=0)
    return [Figure.at_least(
        "1", "certificates in process, one core, beside bare ed25519 signatures",
        f"{found['certificates_per_second']:,.0f}/s", f"{found['signatures_per_second']:,.0f}/s", found["ratio"], 0.85)]


def through_the_broker():
    with new_stand() as stand:
        fingerprints = stand.start_broker(made_up_keys(KEYS))
        lines = "\n".join([stand.token(AGENTS), *fingerprints]) + "\n"
        found = run_json(BENCH / "issue_rate", stand.broker.folder, stand.login, AGENTS, ROUNDS, stdin=lines)
        if stand.certificates() != found["issued"]:
            raise RuntimeError(f"{found['issued']} certificates were given out, {stand.certificates()} are recorded")
    floor = max(found["commits_one_writer"], found["commits_sharing"])
    return [Figure.at_least(
        "2", f"issued and recorded through the broker, {AGENTS} agents at a time, SQLite, beside its commits",
        f"{found['issues_per_second']:,.0f}/s", f"{floor:,.0f}/s", found["ratio"], 0.4)]
