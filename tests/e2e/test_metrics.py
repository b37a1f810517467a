# SPDX-License-Identifier: Apache-2.0
"""The figures for Prometheus: their text, what they count, where they are told, and who names them."""

import json
import re
from pathlib import Path

import pytest
from scene import Scene
from support import exposition
from support.build import REPOSITORY
from support.wait import wait_for

pytestmark = pytest.mark.local_only  # the endpoint is on the broker's own loopback
NAMES = re.compile(r"\b(?:latchkey|process)_[a-z_]+")
PARTS = re.compile(r"_(?:bucket|sum|count)$")


def with_metrics(broker, *lines):
    """The broker, started again with an endpoint; its port."""
    port = broker.network.free_port()
    text = broker.config.read_text(encoding="utf-8")
    lines = lines or (f'listen = "127.0.0.1:{port}"',)
    broker.stop()
    broker.config.write_text("\n".join([text, "[metrics]", *lines, ""]), encoding="utf-8")
    return port


def names_in(text):
    return {PARTS.sub("", name) for name in NAMES.findall(text)}


def test_the_figures_follow_a_login_and_a_revocation(new_vm, broker, new_key):
    port = with_metrics(broker)
    broker.start()
    scene = Scene(broker, new_vm())
    bob = scene.person("bob")
    assert scene.plain(bob).ok
    stranger = new_key("stranger")
    assert not scene.vm.ssh(scene.account, stranger, "id -un").ok
    assert not broker.ssh("bob", stranger, "whoami").ok
    scene.lock(bob)
    assert not broker.by(bob, "whoami", code=bob.totp.wrong()).ok

    before = exposition.scrape(port)
    assert before["latchkey_agents_connected"].sum() == 1
    assert before["latchkey_certificate_issues_total"].sum(outcome="issued") >= 1
    assert before["latchkey_fetches_total"].sum(decision="allow") >= 1
    assert before["latchkey_fetches_total"].sum(decision="deny") >= 1
    assert before["latchkey_factor_checks_total"].sum(outcome="accepted") >= 1
    assert before["latchkey_factor_checks_total"].sum(outcome="wrong") >= 1
    assert before["latchkey_door_logins_total"].sum(outcome="accepted") >= 1

    broker.as_admin("revoke", "user", "bob", "--reason", "metrics", "--wait", "30s")
    after = wait_for(lambda: (lambda now: now["latchkey_receipts_total"].sum() > before["latchkey_receipts_total"].sum()
                              and now)(exposition.scrape(port)), 30, "the receipt to be counted")
    grown = {name: after[name].sum() - before[name].sum() for name in after}
    assert grown["latchkey_revocations_total"] == 1
    assert grown["latchkey_hub_epoch"] == 1
    assert grown["latchkey_receipt_duration_seconds"] >= 1
    for name in ("latchkey_store_read_duration_seconds", "latchkey_store_write_duration_seconds", "latchkey_store_commit_jobs",
                 "latchkey_door_connections_total", "latchkey_door_command_duration_seconds", "latchkey_audit_sequence"):
        assert grown[name] > 0, name
    assert after["latchkey_tampered_rows_total"].sum() == 0
    assert after["process_resident_memory_bytes"].sum() > 1e6

    # Nothing of a person, a key, a machine or an address.
    values = {value for family in after.values() for _, labels in family.samples for label, value in labels
              if label not in ("le", "version", "compiler")}
    assert all(re.fullmatch(r"[a-z_]+", value) for value in values), values
    assert not values & {"bob", "admin", "demo", scene.login, scene.vm.name}


def test_each_family_is_documented_and_each_name_exists(broker):
    port = with_metrics(broker)
    broker.start()
    families = set(exposition.scrape(port))
    document = (REPOSITORY / "docs/metrics.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", document, re.MULTILINE)) == families
    folder = REPOSITORY / "packaging/grafana"
    dashboard = json.loads((folder / "latchkey-brokers.json").read_text(encoding="utf-8"))
    asked = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    assert names_in(asked) <= families and len(names_in(asked)) > 20
    alerts = (folder / "alerts.yml").read_text(encoding="utf-8")
    rules = " ".join(re.findall(r"expr: ((?:>\n(?: {10}.*\n)+)|.*\n)", alerts))
    assert names_in(rules) <= families and len(names_in(rules)) > 5


def threads_of(broker):
    return {path.read_text(encoding="utf-8").strip() for path in Path(f"/proc/{broker.daemon.pid}/task").glob("*/comm")}


def test_nothing_listens_unless_asked_for(broker):
    assert "lk-metrics" not in threads_of(broker)
    with_metrics(broker)
    broker.start()
    assert "lk-metrics" in threads_of(broker)


def test_another_address_than_loopback_is_refused_unless_told_so(broker):
    with_metrics(broker, 'listen = "0.0.0.0:9464"')
    refused = broker.latchkeyd("check")
    assert not refused.ok
    assert "metrics.listen wants a loopback address" in refused.err
    assert "allow_remote = true" in refused.err
    text = broker.config.read_text(encoding="utf-8")
    broker.config.write_text(text + "allow_remote = true\n", encoding="utf-8")
    assert broker.latchkeyd("check").ok
