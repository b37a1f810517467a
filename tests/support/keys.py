# SPDX-License-Identifier: Apache-2.0
"""SSH keys and certificates made by stock ssh-keygen."""

import subprocess
from pathlib import Path

# Those that ssh-keygen makes without a token: sk keys are covered by the unit tests.
KEY_TYPES = {
    "ed25519": ["-t", "ed25519"],
    "ecdsa-256": ["-t", "ecdsa", "-b", "256"],
    "ecdsa-384": ["-t", "ecdsa", "-b", "384"],
    "ecdsa-521": ["-t", "ecdsa", "-b", "521"],
    "rsa-3072": ["-t", "rsa", "-b", "3072"],
}
WEAK_KEY_TYPES = {
    "rsa-1024": ["-t", "rsa", "-b", "1024"],
    "dsa": ["-t", "dsa"],
}


def run(*argv):
    return subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=True,
                          stdin=subprocess.DEVNULL).stdout


class KeyPair:
    """A private key file, 0600, and its .pub beside it."""

    def __init__(self, path):
        self.path = Path(path)
        self.public_path = self.path.with_name(self.path.name + ".pub")

    @classmethod
    def generate(cls, folder, name="id", kind="ed25519"):
        path = Path(folder) / name
        run("ssh-keygen", "-q", *(KEY_TYPES | WEAK_KEY_TYPES)[kind], "-N", "", "-C", name, "-f", path)
        return cls(path)

    @property
    def public(self):
        """The public key as one line, as authorized_keys has it."""
        return self.public_path.read_text(encoding="utf-8").strip()

    @property
    def fingerprint(self):
        return run("ssh-keygen", "-l", "-f", self.public_path).split()[1]

    def certify(self, subject, to, key_id, principals, validity="-1m:+1h", serial=1, options=()):
        """A certificate by this key as CA over `subject` (a KeyPair), written to the file `to`."""
        copy = Path(to).with_suffix(".certify.pub")
        copy.write_text(subject.public + "\n", encoding="utf-8")
        run("ssh-keygen", "-q", "-s", self.path, "-I", key_id, "-n", ",".join(principals), "-V", validity,
            "-z", str(serial), *(word for option in options for word in ("-O", option)), copy)
        made = copy.with_name(copy.name.removesuffix(".pub") + "-cert.pub")
        copy.unlink()
        return made.rename(to)


def describe_certificate(path):
    """What `ssh-keygen -L` says of a certificate file; CalledProcessError where it refuses it."""
    return run("ssh-keygen", "-L", "-f", path)
