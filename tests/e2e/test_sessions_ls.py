# SPDX-License-Identifier: Apache-2.0
"""Session rows at the broker: who is where, one of them ended, and what a VM that was away no longer has."""

import json

import pytest
from scene import Scene, assert_in
from support.wait import wait_for


@pytest.fixture
def scene(broker, new_vm):
    return Scene(broker, new_vm(name="vm-one"))


def rows(scene, *words):
    return scene.admin_json("sessions", "ls", *words)["sessions"]


def test_one_session_is_ended_and_another_of_the_same_credential_lives_on(scene, tmp_path):
    ann = scene.person("ann")
    certificate = scene.certificate(ann, tmp_path)
    with scene.certificate_session(ann, certificate) as first:
        one = wait_for(lambda: rows(scene), 15, "the first session's row")[0]
        assert (one["user"], one["login"], one["vm"], one["state"]) == ("ann", scene.login, "vm-one", "live")
        assert one["key"] == ann.key.fingerprint and one["from"] and one["opened_at"]
        with scene.certificate_session(ann, certificate) as second:
            wait_for(lambda: len(rows(scene, "--user", "ann", "--vm", "vm-one")) == 2, 15, "the second session's row")
            other = next(row for row in rows(scene) if row["id"] != one["id"])
            assert other["serial"] == one["serial"] != "0"
            assert rows(scene, "--user", "ben") == []

            done = scene.broker.by(scene.broker.admin, "sessions", "end", one["id"], "--reason", "left it open")
            assert done.ok and f"ended session {one['id']} at vm-one" in done.out, done
            assert first.wait(10).code == 255
            assert second.running
            assert [row["id"] for row in rows(scene)] == [other["id"]]
            ended = next(row for row in rows(scene, "--all") if row["id"] == one["id"])
            assert (ended["state"], ended["end_reason"]) == ("ended", "left it open")

            again = scene.broker.by(scene.broker.admin, "sessions", "end", one["id"])
            assert again.code == 1 and "has ended already" in again.err
            own = scene.broker.by(ann, "sessions", "end", other["id"], "--json")  # one's own
            assert own.ok and json.loads(own.out)["outcome"] == "ended", own
            assert second.wait(10).code == 255
    assert_in(scene.plain(ann), scene.login)  # no credential was taken


@pytest.mark.local_only
def test_sessions_of_a_vm_that_was_away_are_last_seen_and_closed_when_it_is_back(scene):
    ann, vm = scene.person("ann"), scene.vm
    with scene.session(ann) as session:
        row = wait_for(lambda: rows(scene), 15, "the session's row")[0]
        vm.stop_agent()
        wait_for(lambda: rows(scene)[0]["state"] == "last-seen", 20, "the broker to miss the VM")
        assert "last seen" in scene.broker.as_admin("sessions", "ls")
        refused = scene.broker.by(scene.broker.admin, "sessions", "end", row["id"])
        assert refused.code == 4 and "not connected" in refused.err and f"revoke cert {row['serial']}" in refused.err
        assert session.running

        vm.start_agent().await_serving()  # it knows its sessions over a restart, and names them
        wait_for(lambda: rows(scene)[0]["state"] == "live", 20, "the VM to be back")
        with scene.session(ann):
            wait_for(lambda: len(rows(scene)) == 2, 15, "a second row: the first was named and is kept")
    wait_for(lambda: rows(scene) == [], 20, "both to be closed by their end")

    with scene.session(ann):
        wait_for(lambda: rows(scene), 15, "the session's row")
        vm.stop_agent()
        vm.sessions.unlink()  # as after a boot: they are gone, and nobody said so
        vm.start_agent().await_serving()
        wait_for(lambda: rows(scene) == [], 20, "what the VM no longer names to be closed")
        closed = rows(scene, "--all")[0]
        assert (closed["state"], closed["end_reason"]) == ("closed", "gone when the VM came back")
