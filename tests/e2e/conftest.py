# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end tests. What they read from the environment:

LATCHKEY_BUILD           the build folder under test (default build/dev)
LATCHKEY_PACKAGES        a folder of packaging/build: VMs of the lab have the packages installed (default: the programs)
LATCHKEY_E2E_BACKENDS    kinds of VM to test on: "local lab" (default), or one of them
LATCHKEY_REQUIRE_LAB     set: a machine that cannot boot the lab's VMs is a failure, not a skip
LATCHKEY_E2E_SUITE       Debian release of the lab's VMs: bookworm (default) or trixie. On another release than
                         bookworm the tests marked every_suite run, in the lab alone
"""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.broker import Broker  # noqa: E402
from support.build import SUITE, Build  # noqa: E402
from support.keys import KeyPair  # noqa: E402
from support.lab import Lab, LabVm, lab_answer  # noqa: E402
from support.local_vm import LocalVm  # noqa: E402
from support.network import Network  # noqa: E402
from support.place import Place  # noqa: E402

if SUITE != "bookworm":  # our own programs are for this machine's release; VMs of another need the packages
    os.environ.setdefault("LATCHKEY_PACKAGES", f"build/{SUITE}/packages")
BACKENDS = ["local", "lab"] if SUITE == "bookworm" else ["lab"]


def pytest_configure(config):
    config.addinivalue_line("markers", "lab_only: needs a systemd VM")
    config.addinivalue_line("markers", "local_only: needs an sshd on loopback")
    config.addinivalue_line("markers", "every_suite: runs on each Debian release that the lab boots")
    config.addinivalue_line("markers", "trixie_only: runs on Debian 13 alone, because it is about what came with it")
    config.lab_works, config.lab_line = lab_answer()


def pytest_generate_tests(metafunc):
    """A test that asks for `backend` runs on each kind of VM, unless it is marked for one."""
    if "backend" in metafunc.fixturenames:
        marked = [kind for kind in BACKENDS if metafunc.definition.get_closest_marker(f"{kind}_only")]
        metafunc.parametrize("backend", marked or BACKENDS, indirect=True)


def pytest_collection_modifyitems(config, items):
    """Leaves out the kinds of VM, and on another Debian release the tests, that are not wanted in this run."""
    wanted = os.environ.get("LATCHKEY_E2E_BACKENDS", " ".join(BACKENDS)).split()
    left_out = [item for item in items if hasattr(item, "callspec")
                and item.callspec.params.get("backend", wanted[0]) not in wanted]
    if SUITE == "bookworm":
        left_out += [item for item in items if item.get_closest_marker("trixie_only")]
    else:
        left_out += [item for item in items if not item.get_closest_marker("every_suite")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the ends of the logs of its programs."""
    outcome = yield
    report = outcome.get_result()
    setattr(item, f"report_{report.when}", report)
    if report.failed and "place" in item.funcargs:
        for log in item.funcargs["place"].logs:
            if log.exists() and log.stat().st_size:
                text = log.read_text(encoding="utf-8", errors="replace")
                report.sections.append((str(log), text[-4000:]))


@pytest.fixture(scope="session")
def build(run_place):
    return Build.from_environment().install(run_place.folder("programs"))


@pytest.fixture(scope="session")
def run_place():
    if os.geteuid() != 0:
        pytest.fail("the end-to-end tests run a real sshd: run them as root")
    place = Place()
    yield place
    place.remove()


@pytest.fixture
def place(run_place):
    """The run's place, looked through after each test for what a sanitizer found."""
    run_place.logs.clear()
    before = set(run_place.sanitizer_reports())
    yield run_place
    found = [path for path in run_place.sanitizer_reports() if path not in before]
    if found:
        pytest.fail("\n".join(path.read_text(errors="replace")[:6000] for path in found), pytrace=False)


@pytest.fixture(scope="session")
def lab(request, run_place):
    config = request.config
    if not config.lab_works:
        if os.environ.get("LATCHKEY_REQUIRE_LAB"):
            pytest.fail(f"the lab's VMs are required: {config.lab_line}", pytrace=False)
        pytest.skip(f"no lab VMs here ({config.lab_line})")
    lab = Lab(run_place, SUITE)
    yield lab
    lab.clean()


@pytest.fixture
def backend(request):
    """"local" or "lab". On a machine that cannot boot the lab's VMs, "lab" is skipped (or fails)."""
    if request.param == "lab":
        request.getfixturevalue("lab")
    return request.param


@pytest.fixture
def network(request, backend):
    """Where the brokers and clients of this test run."""
    return request.getfixturevalue("lab").network if backend == "lab" else Network()


@pytest.fixture
def new_vm(request, backend, place, build):
    """new_vm(name=…, agent=True, build=…, **keys of agent.toml) starts a VM of the wanted kind; it is removed at
    the end."""
    made = []

    def start(**how):
        if backend == "lab":
            vm = LabVm(place, request.getfixturevalue("lab"), **{"build": build, **how})
        else:
            vm = LocalVm(place, **{"build": build, **how})
        made.append(vm)
        return vm.start()

    yield start
    failed = getattr(request.node, "report_call", None)
    for vm in reversed(made):
        if failed and failed.failed and backend == "lab":
            request.node.add_report_section("teardown", f"sshd and agent of {vm.name}", _last_words(vm))
        vm.remove()


def _last_words(vm):
    try:
        return vm.sshd_log()[-4000:] + (vm.agent_log()[-4000:] if vm.build else "")
    except Exception as error:  # it may not have booted: the test's own failure says so
        return str(error)


@pytest.fixture
def new_broker(place, build, network):
    """new_broker(name=…, door={}, hub={}, limits={}): a broker with its first admin, serving."""
    made = []

    def start(**how):
        broker = Broker(place, build, network, **how)
        made.append(broker)
        return broker.init().start()

    yield start
    for broker in reversed(made):
        broker.stop()


@pytest.fixture
def broker(new_broker):
    return new_broker()


@pytest.fixture
def new_key(tmp_path):
    """new_key(name, kind="ed25519"): a KeyPair that nobody knows yet."""
    return lambda name="id", kind="ed25519": KeyPair.generate(tmp_path, name, kind)
