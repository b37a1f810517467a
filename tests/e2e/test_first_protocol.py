# SPDX-License-Identifier: Apache-2.0
"""Agents in old images, brokers not yet updated: the first protocol (tests/compat) works with today's programs."""

import subprocess

import pytest
from scene import Scene, assert_in, assert_out
from support.broker import Broker
from support.build import REPOSITORY, Build
from support.wait import wait_for

COMPAT = REPOSITORY / "tests/compat"


@pytest.fixture(scope="session")
def first_build(run_place):
    """Agent and broker that speak the first protocol only."""
    folder = REPOSITORY / "build/first-protocol"
    done = subprocess.run([COMPAT / "build", folder], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=1500, check=False)
    assert done.returncode == 0, done.stderr
    return Build(folder, templates=COMPAT / "templates").install(run_place.folder("first-programs"))


@pytest.fixture(params=["old agent, new broker", "new agent, old broker"])
def scene(request, place, build, first_build, network, new_vm):
    agents, brokers = (first_build, build) if request.param.startswith("old agent") else (build, first_build)
    broker = Broker(place, brokers, network).init().start()
    yield Scene(broker, new_vm(name="vm-one", build=agents))
    broker.stop()


def links(scene):
    """How often the VM's agent has come to the broker: once, unless something tore the connection."""
    return scene.broker.log_text().count("welcome agent vm=vm-one")


@pytest.mark.local_only
def test_the_first_protocol_still_opens_and_closes_vms(scene, new_key, tmp_path):
    ann, ben = scene.person("ann"), scene.person("ben")
    certificate = scene.certificate(ann, tmp_path)
    assert_in(scene.with_certificate(ann, certificate), scene.login)
    assert_in(scene.plain(ann), scene.login)
    assert_out(scene.vm.ssh(scene.account, new_key(), "id"))
    assert_out(scene.vm.ssh("bob", ann.key, "id"))

    # A new unlock sends the VM what only today's agent awaits.
    scene.lock(ben)
    wait_for(lambda: not scene.plain(ben).ok, 20, "the login to be refused after lock")
    scene.unlock(ben)
    assert_in(scene.plain(ben), scene.login)

    with scene.certificate_session(ann, certificate) as anns, scene.session(ben) as bens:
        wait_for(lambda: len(scene.admin_json("sessions", "ls")["sessions"]) == 2, 15, "two session rows")
        done = scene.broker.by(scene.broker.admin, "revoke", "user", "ann", "--reason", "stolen", "--wait", "30s")
        assert done.ok, done.err
        assert anns.wait(15).code == 255
        assert_out(scene.with_certificate(ann, certificate))
        assert_out(scene.plain(ann))
        assert bens.running
        assert_in(scene.plain(ben), scene.login)
    receipt = scene.admin_json("revoke", "show", "1")["receipts"][0]
    assert (receipt["sessions_found"], receipt["sessions_ended"]) == (1, 1)

    # Both come back, and what was revoked stays so.
    assert links(scene) == 1
    scene.vm.stop_agent()
    scene.vm.start_agent().await_serving()
    assert links(scene) == 2
    assert_out(scene.plain(ann))
    assert_in(scene.plain(ben), scene.login)
