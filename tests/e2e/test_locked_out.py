# SPDX-License-Identifier: Apache-2.0
"""The way back in for the only admin: root on the broker's machine invites them anew."""

import json

import pytest
from support.broker import INVITE
from support.keys import KeyPair

pytestmark = pytest.mark.local_only


def invited(broker, name):
    done = broker.latchkeyd("invite", name)
    assert done.ok, done
    return INVITE.search(done.out)[1]


def test_the_only_admin_is_let_in_anew_beside_a_running_broker_and_without_one(broker):
    admin, ann = broker.admin, broker.enrol("ann")
    broker.as_admin("user", "role", "ann", "admin")
    done = broker.by(ann, "revoke", "user", "admin", "--reason", "stolen")
    assert done.ok, done
    done = broker.by(ann, "revoke", "user", "ann", "--reason", "left")
    assert done.code == 1 and "no admin with a key would be left" in done.err, done
    done = broker.by(admin, "whoami")
    assert done.code == 255 and "account locked" in done.err, done

    done = broker.latchkeyd("invite", "nobody")
    assert done.code == 1 and "no user nobody" in done.err and not done.out, done
    assert broker.latchkeyd("invite", "No Name").code == 1

    invite = invited(broker, "admin")
    done = broker.by(admin, "whoami", code="000000")  # no lock any more, and no factor
    assert done.code == 255 and "no second factor is enrolled" in done.err, done
    broker.join(admin, invite)
    assert json.loads(broker.as_admin("whoami", "--json"))["role"] == "admin"
    broker.as_admin("user", "lock", "ann")
    by_latchkeyd = [event["action"] for event in json.loads(broker.as_admin("audit", "ls", "--json"))["events"]
                    if event["actor"] == "latchkeyd" and event["object"] == "admin"]
    assert by_latchkeyd[:4] == ["invite.add", "user.unlock", "unlock.end", "factor.reset"]

    broker.stop()
    invite = invited(broker, "ann")
    broker.start()
    ann.key = KeyPair.generate(broker.folder, "key-ann-new")
    broker.join(ann, invite)
    assert broker.by(ann, "whoami").ok
    assert json.loads(broker.as_admin("audit", "verify", "--json"))["intact"]
    broker.as_admin("user", "rm", "ann")
    assert broker.latchkeyd("invite", "ann").code == 1
