# SPDX-License-Identifier: Apache-2.0
"""A broker in a folder of its own, and the people who use it through stock ssh."""

import os
import re
import subprocess
from dataclasses import dataclass, field

from . import ssh
from .daemon import Daemon
from .keys import KeyPair
from .template import setting_lines
from .totp import Totp

# What stock output shows to a person: the secret in the otpauth:// line, the invite code after "invite…:".
SECRET = re.compile(r"(?:secret=|[Ss]ecret: ?)([A-Z2-7]{16,})")
INVITE = re.compile(r"(?:invite[^:\n]*: ?)(\S+)", re.IGNORECASE)


@dataclass
class Person:
    """Someone with an account at the broker. `key` may be exchanged for another of theirs."""

    name: str
    key: KeyPair
    totp: Totp | None = None
    recovery_codes: list = field(default_factory=list)


def _answers(code):
    return (lambda prompt, session: code.code()) if isinstance(code, Totp) else code


class Broker:
    """latchkeyd from `build` on `network`. Its state outlives stop() and kill(): start() goes on with it.

    `door`, `hub`, `store`, `limits`: dicts of what the configuration's sections are to hold besides the addresses.
    `like`: another broker, whose keys and admin this one has: both serve one database."""

    def __init__(self, place, build, network, name="broker", door=None, hub=None, limits=None, store=None, like=None):
        self.place = place
        self.build = build
        self.network = network
        self.address = network.address
        self.folder = place.folder(name)
        self.door_port = network.free_port()
        self.hub_port = network.free_port()
        self.config = self.folder / "latchkeyd.toml"
        self.environment = build.environment(place.reports)
        self.admin = None
        self.daemon = None
        self.hub_address = f"{self.address}:{self.hub_port}"
        self.like = like
        self.config.write_text(build.fill(
            "latchkeyd.toml", address=self.address, door_port=self.door_port, hub_port=self.hub_port,
            state=self.folder / "state", plugins=build.plugins, user=place.account("broker"),
            signer_user=place.account("signer"), door=setting_lines(door), hub=setting_lines(hub), limits=setting_lines(limits),
            store=setting_lines(store)),
            encoding="utf-8")

    def latchkeyd(self, *words, stdin=""):
        """One command of latchkeyd on this broker's configuration, from start to end, as an ssh.Result."""
        argv = [*self.network.prefix, self.build.program("latchkeyd"), *words, "--config", self.config]
        done = subprocess.run([str(word) for word in argv], input=stdin, capture_output=True, text=True,
                              timeout=60, check=False, env=self.environment, cwd="/")
        return ssh.Result(done.returncode, done.stdout, done.stderr)

    def init(self, admin="admin"):
        """Makes keys, database and the first admin, whose key and TOTP secret become self.admin."""
        if self.like:
            for folder in ("state", "state-signer"):
                subprocess.run(["cp", "-a", self.like.folder / folder, self.folder / folder], check=True)
            self.admin = self.like.admin
            return self
        key = KeyPair.generate(self.folder, f"key-{admin}")
        done = self.latchkeyd("init", "--admin", admin, "--admin-email", f"{admin}@example.org",
                              "--admin-key", key.public_path)
        if not done.ok:
            raise RuntimeError(f"latchkeyd init: {done.err}")
        self.admin = Person(admin, key, Totp(SECRET.search(done.out + done.err)[1]))
        return self

    def start(self):
        argv = [*self.network.prefix, self.build.program("latchkeyd"), "serve", "--config", self.config]
        self.daemon = Daemon(self.place, argv, self.folder / "latchkeyd.log", self.environment).start()
        return self

    def stop(self):
        return self.daemon.stop() if self.daemon else None

    def kill(self):
        self.daemon.kill()

    def log_text(self):
        return self.daemon.log_text() if self.daemon else ""

    def database(self):
        return self.folder / "state" / "ledger.db"

    # --- Over ssh -------------------------------------------------------------------------------------------

    def open_session(self, user, key, *command, code=None, **how):
        """A running ssh to the door. `code` answers the factor prompt: a text, a Totp (its next code, taken only
        when the broker asks), a function as ssh.Prompts takes it, or None for no answer."""
        return ssh.open_session(self.network, self.address, self.door_port, user, key, *command,
                                answers=_answers(code), **how)

    def ssh(self, user, key, *command, code=None, stdin="", seconds=60.0, **how):
        return ssh.run(self.network, self.address, self.door_port, user, key, *command,
                       answers=_answers(code), stdin=stdin, seconds=seconds, **how)

    def by(self, person, *command, **how):
        """A command by a person, with their key, and their next code where the broker asks for one."""
        return self.ssh(person.name, person.key, *command, **{"code": person.totp, **how})

    def as_admin(self, *command, **how):
        """A command by the first admin that must succeed; its output."""
        done = self.by(self.admin, *command, **how)
        if not done.ok:
            raise RuntimeError(f"admin's {' '.join(command)}: {done.code} {done.err or done.out}")
        return done.out

    def invite(self, name, *groups):
        """Adds a user; returns the invite code."""
        options = [word for group in groups for word in ("--group", group)]
        return INVITE.search(self.as_admin("user", "add", name, "--email", f"{name}@example.org", *options))[1]

    def enrol(self, name, *groups, kind="ed25519"):
        """Adds a user and joins as them, as DESIGN's "Enrol" goes; returns the Person."""
        return self.join(Person(name, KeyPair.generate(self.folder, f"key-{name}", kind)), self.invite(name, *groups))

    def join(self, person, invite):
        """Joins with that invite and the person's key; their authenticator is a new one. Returns the Person."""
        person.totp = None

        def answer(prompt, session):
            if "invite" in prompt.lower():
                return invite
            person.totp = person.totp or Totp(session.expect(SECRET, stream="all")[1])
            return person.totp.code()

        done = self.ssh("join", person.key, code=answer)
        if not done.ok:
            raise RuntimeError(f"join as {person.name}: {done.code} {done.err or done.out}")
        return person

    def certificate(self, person, to, **how):
        """Writes the person's certificate to a file, as `ssh user@broker cert > file` does."""
        done = self.by(person, "cert", **how)
        if not done.ok:
            raise RuntimeError(f"cert for {person.name}: {done.code} {done.err or done.out}")
        descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(done.out)
        return to
