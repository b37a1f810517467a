# SPDX-License-Identifier: Apache-2.0
"""The main job: unlock, log in, be refused, revoke, be cut off. Stock ssh against a stock sshd."""

import subprocess

import pytest
from scene import Scene, assert_in, assert_out
from support.wait import wait_for


@pytest.fixture
def scene(broker, new_vm):
    return Scene(broker, new_vm(name="vm-one"))


@pytest.mark.every_suite
def test_plain_key_and_certificate_open_the_vm_once_unlocked(scene, tmp_path):
    alice = scene.person("ann", unlocked=False)
    assert_out(scene.plain(alice))
    scene.unlock(alice)
    assert_in(scene.plain(alice), scene.login)
    certificate = scene.certificate(alice, tmp_path)
    shown = subprocess.run(["ssh-keygen", "-L", "-f", certificate], capture_output=True, text=True, check=True).stdout
    assert f'Key ID: "ann/' in shown and scene.login in shown
    assert_in(scene.with_certificate(alice, certificate), scene.login)


def test_lock_by_the_user_closes_the_vm_again(scene):
    ann = scene.person("ann")
    assert_in(scene.plain(ann), scene.login)
    scene.lock(ann)
    # The grant that the VM holds ends with the revocation or the certificate; lock is judged at the next fetch.
    wait_for(lambda: not scene.plain(ann).ok, 20, "the login to be refused after lock")


@pytest.mark.every_suite
def test_an_unregistered_key_opens_nothing(scene, new_key):
    scene.person("ann")
    assert_out(scene.vm.ssh(scene.account, new_key(), "id"))


@pytest.mark.every_suite
def test_a_login_that_policy_does_not_grant_is_refused(scene):
    ann = scene.person("ann")
    assert_in(scene.plain(ann), scene.login)
    assert_out(scene.vm.ssh("bob", ann.key, "id"))


def test_a_vm_that_policy_does_not_grant_is_refused(scene, new_vm):
    other = new_vm(name="db-one")
    other.login(scene.account)
    other.join(scene.token())
    ann = scene.person("ann")
    rules = scene.admin_json("grant", "ls")["grants"]
    scene.broker.as_admin("grant", "rm", rules[0]["id"])
    scene.broker.as_admin("grant", "add", "--group", "demo", "--vm", "vm-*", "--login", scene.login)
    assert_in(scene.plain(ann), scene.login)
    assert_out(other.ssh(scene.account, ann.key, "id"))


def test_a_user_outside_the_group_is_refused(scene):
    assert_in(scene.plain(scene.person("ann")), scene.login)
    outsider = scene.broker.enrol("out")
    assert_out(scene.plain(outsider))


def test_what_policy_does_not_allow_is_off(scene, tmp_path):
    ann = scene.person("ann")
    assert_in(scene.plain(ann, "tty -s || id -un"), scene.login)
    agent_forwarding = scene.plain(ann, "test -z \"$SSH_AUTH_SOCK\" && id -un", options=["ForwardAgent=yes"])
    assert_in(agent_forwarding, scene.login)


def test_a_forced_command_is_all_that_runs(scene):
    ann = scene.person("ann")
    rules = scene.admin_json("grant", "ls")["grants"]
    scene.broker.as_admin("grant", "add", "--group", "demo", "--vm", "*", "--login", scene.login, "--command",
                          "'echo only this'")
    scene.broker.as_admin("grant", "rm", rules[0]["id"])
    wait_for(lambda: scene.plain(ann, "id -un").out.strip() == "only this", 20, "the forced command to apply")


def test_a_source_address_outside_the_grant_is_refused(scene):
    ann = scene.person("ann")
    assert_in(scene.plain(ann), scene.login)
    rules = scene.admin_json("grant", "ls")["grants"]
    scene.broker.as_admin("grant", "rm", rules[0]["id"])
    scene.broker.as_admin("grant", "add", "--group", "demo", "--vm", "*", "--login", scene.login, "--from", "198.51.100.0/24")
    wait_for(lambda: not scene.plain(ann).ok, 20, "the address to be refused")


def test_two_rules_with_their_own_networks_each_let_in(scene):
    rules = scene.admin_json("grant", "ls")["grants"]
    for network in ("127.0.0.0/8,192.0.2.0/24", "198.51.100.0/24"):
        scene.broker.as_admin("grant", "add", "--group", "demo", "--vm", "*", "--login", scene.login, "--from", network)
    scene.broker.as_admin("grant", "rm", rules[0]["id"])
    assert_in(scene.plain(scene.person("ann")), scene.login)


@pytest.mark.every_suite
def test_a_certificate_that_the_ledger_does_not_know_opens_nothing(scene, tmp_path):
    """A stolen CA key: signed by the right CA, for the right key, login and time."""
    ann = scene.person("ann")
    real = scene.certificate(ann, tmp_path)
    assert_in(scene.with_certificate(ann, real), scene.login)
    stolen = tmp_path / "ca"
    stolen.write_bytes((scene.broker.folder / "state-signer" / "ca_ed25519").read_bytes())
    stolen.chmod(0o600)
    public = tmp_path / "forged.pub"
    public.write_text(ann.key.public + "\n")
    subprocess.run(["ssh-keygen", "-q", "-s", stolen, "-I", "ann/4711", "-z", "4711", "-n", scene.login, "-V",
                    "-1m:+1h", public], check=True)
    assert_out(scene.with_certificate(ann, tmp_path / "forged-cert.pub"))


@pytest.mark.every_suite
def test_a_key_in_authorized_keys_does_not_pass_for_a_managed_login(scene, new_key):
    ann = scene.person("ann")
    assert_in(scene.plain(ann), scene.login)
    own = new_key("own")
    scene.vm.authorized_keys(scene.account, own)
    assert_out(scene.vm.ssh(scene.account, own, "id -un"))
    with scene.vm.open_session(scene.account, own, options=["SessionType=none"]) as tunnel:  # ssh -N
        assert tunnel.wait(20).code == 255
    # A registered key shown in the same connection does not carry the other one in.
    both = scene.vm.ssh(scene.account, ann.key, "id -un", options=[f"IdentityFile={own.path}"])
    assert_in(both, scene.login)
    assert_out(scene.vm.ssh(scene.account, own, "id -un", options=[f"IdentityFile={ann.key.public_path}"]))


def test_an_unmanaged_account_is_left_alone(scene, new_key):
    own = new_key("own")
    scene.vm.authorized_keys("carol", own)
    assert_in(scene.vm.ssh("carol", own, "id -un"), scene.vm.login("carol"))
    assert_out(scene.vm.ssh("carol", new_key("other"), "id"))
    scene.vm.stop_agent()
    assert_in(scene.vm.ssh("carol", own, "id -un"), scene.vm.login("carol"))


@pytest.mark.every_suite
def test_a_managed_login_is_refused_while_the_agent_is_down(scene, new_key):
    ann = scene.person("ann")
    own = new_key("own")
    scene.vm.authorized_keys(scene.account, own)
    assert_in(scene.plain(ann), scene.login)
    scene.vm.stop_agent()
    assert_out(scene.plain(ann))
    assert_out(scene.vm.ssh(scene.account, own, "id"))
    scene.vm.start_agent().await_serving()
    assert_in(scene.plain(ann), scene.login)


def revocation_of(scene, kind, person, certificate):
    if kind == "user":
        return ["user", person.name]
    if kind == "key":
        return ["key", person.key.fingerprint]
    serial = subprocess.run(["ssh-keygen", "-L", "-f", certificate], capture_output=True, text=True,
                            check=True).stdout.split("Serial: ")[1].split()[0]
    return ["cert", serial]


@pytest.mark.every_suite
@pytest.mark.parametrize("kind", ["user", "key", "cert"])
def test_revocation_ends_exactly_that_credential_s_sessions(scene, tmp_path, kind):
    ann, ben = scene.person("ann"), scene.person("ben")
    certificate = scene.certificate(ann, tmp_path)
    with scene.certificate_session(ann, certificate) as anns, scene.session(ben) as bens:
        live = scene.admin_json("sessions", "ls")["sessions"]
        assert sorted(row["user"] for row in live) == ["ann", "ben"]
        done = scene.broker.by(scene.broker.admin, "revoke", *revocation_of(scene, kind, ann, certificate),
                               "--reason", "stolen", "--wait", "15s")
        assert done.ok, done.err
        assert anns.wait(10).code == 255
        assert bens.running
        assert_out(scene.with_certificate(ann, certificate))
        if kind != "cert":
            assert_out(scene.plain(ann))
        assert_in(scene.plain(ben), scene.login)
        assert bens.running
        receipt = scene.admin_json("revoke", "show", "1")["receipts"][0]
        assert (receipt["sessions_found"], receipt["sessions_ended"]) == (1, 1)
    assert "allow" in scene.broker.as_admin("audit", "ls", "--json") and scene.broker.as_admin("audit", "verify")


def test_the_receipt_bears_the_vm_s_signature(scene, tmp_path):
    """Verified with OpenSSL alone, over bytes put together here as docs/protocol-hub.md tells."""
    ann = scene.person("ann")
    assert_in(scene.plain(ann), scene.login)
    scene.broker.as_admin("revoke", "user", "ann", "--reason", "left", "--wait", "15s")
    receipt = scene.admin_json("revoke", "show", "1")["receipts"][0]
    key = scene.admin_json("vm", "show", "vm-one")["key"]
    assert receipt_verifies(receipt, key, tmp_path)
    assert not receipt_verifies({**receipt, "sessions_ended": receipt["sessions_ended"] + 1}, key, tmp_path)


def receipt_verifies(receipt, key_line, folder):
    import base64

    def string(data):
        return len(data).to_bytes(4, "big") + data

    signed = string(b"latchkey-receipt-v1")
    for name, width in [("epoch", 8), ("vm_id", 8), ("sessions_found", 4), ("sessions_ended", 4), ("grants_purged", 4),
                        ("time_micros", 8)]:
        signed += int(receipt[name]).to_bytes(width, "big")
    signed += string((receipt["trouble"] or "").encode())
    blob = base64.b64decode(key_line.split()[1])
    raw_key, signature = blob[-32:], base64.b64decode(receipt["signature"])[-64:]
    (folder / "key.der").write_bytes(bytes.fromhex("302a300506032b6570032100") + raw_key)
    (folder / "signed").write_bytes(signed)
    (folder / "signature").write_bytes(signature)
    done = subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", folder / "key.der", "-keyform", "DER", "-rawin", "-in",
                           folder / "signed", "-sigfile", folder / "signature"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.every_suite
def test_children_that_ignore_everything_end_with_their_session(scene):
    ann = scene.person("ann")
    command = ("trap '' TERM HUP INT; (trap '' TERM HUP; exec sleep 601) & nohup sleep 602 >/dev/null 2>&1 & "
               "echo begun; while :; do sleep 1; done")
    with scene.vm.open_session(scene.account, ann.key, command) as session:
        session.expect("begun")
        scene.broker.as_admin("revoke", "user", "ann", "--reason", "stolen", "--wait", "15s")
        assert session.wait(10).code == 255
    for number in ("601", "602"):
        assert scene.vm.run("pgrep", "-fx", f"sleep {number}", check=False).returncode == 1


@pytest.mark.every_suite
def test_a_tunnel_without_a_shell_ends_too(scene):
    ann = scene.person("ann")
    with scene.vm.open_session(scene.account, ann.key, options=["SessionType=none"]) as tunnel:
        wait_for(lambda: scene.admin_json("sessions", "ls")["sessions"], 15, "the tunnel's session row")
        scene.broker.as_admin("revoke", "user", "ann", "--reason", "stolen", "--wait", "15s")
        assert tunnel.wait(10).code == 255


def test_an_account_opens_again_after_the_admin_unlocks_it(scene):
    ann = scene.person("ann")
    scene.broker.as_admin("revoke", "user", "ann", "--reason", "lost phone", "--wait", "15s")
    assert_out(scene.plain(ann))
    scene.broker.as_admin("user", "unlock", "ann")
    scene.unlock(ann)
    assert_in(scene.plain(ann), scene.login)


class TestShortWindows:
    @pytest.fixture
    def scene(self, new_broker, new_vm):
        broker = new_broker(limits={"certificate_seconds": 10, "unlock_seconds": 30})
        return Scene(broker, new_vm(name="vm-one"))

    def test_a_certificate_ends_and_is_renewed_while_the_unlock_lasts(self, scene, tmp_path):
        ann = scene.person("ann")
        certificate = scene.certificate(ann, tmp_path)
        assert_in(scene.with_certificate(ann, certificate), scene.login)
        wait_for(lambda: not scene.with_certificate(ann, certificate).ok, 20, "the certificate to expire")
        assert_in(scene.plain(ann), scene.login)  # a fresh one stands behind the plain key
        wait_for(lambda: not scene.plain(ann).ok, 40, "the unlock to end")
