# SPDX-License-Identifier: Apache-2.0
"""The programs under test: one CMake build folder, and what its sanitizers want in the environment."""

import os
import shutil
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


class Build:
    """`folder` holds bin/ and plugins/. What is loaded into a stock program (the PAM module, into sshd) cannot
    carry a sanitizer, so it comes from `plain`, another build of the same sources, where that is given."""

    def __init__(self, folder, plain=None):
        self.folder = Path(folder).resolve()
        self.plain = Path(plain).resolve() if plain else self.folder

    @classmethod
    def from_environment(cls):
        folder = os.environ.get("LATCHKEY_BUILD", REPOSITORY / "build" / "dev")
        return cls(folder, os.environ.get("LATCHKEY_BUILD_PLAIN"))

    def program(self, name):
        return self._existing(self.folder / "bin" / name)

    @property
    def plugins(self):
        return self._existing(self.folder / "plugins")

    @property
    def authorized_keys_helper(self):
        return self._existing(self.plain / "bin" / "latchkey-authorized-keys")

    @property
    def pam_module(self):
        places = [self.plain / folder / "pam_latchkey.so" for folder in ("pam", "lib", "bin", ".")]
        return next((place for place in places if place.exists()), self._existing(places[0]))

    def has(self, *names):
        return all((self.folder / "bin" / name).exists() for name in names)

    @staticmethod
    def _existing(path):
        if not path.exists() and shutil.which(str(path)) is None:
            raise FileNotFoundError(f"{path} is not built: cmake --build {path.parent.parent}")
        return path

    @staticmethod
    def environment(reports):
        """Plain environment for a daemon; sanitizer findings go to files sanitizer.* in the folder `reports`."""
        common = f"log_path={reports}/sanitizer:exitcode=86"
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "ASAN_OPTIONS": f"{common}:detect_leaks=1:strict_string_checks=1",
            "UBSAN_OPTIONS": f"{common}:print_stacktrace=1",
            "TSAN_OPTIONS": f"{common}:second_deadlock_stack=1",
        }
