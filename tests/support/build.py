# SPDX-License-Identifier: Apache-2.0
"""The programs under test: a CMake build folder's bin/ and plugins/, installed where any user can run them."""

import os
import shutil
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


class Build:
    """`folder` is LATCHKEY_BUILD. install() copies its programs below a root-owned place: a checkout may lie where
    the broker's own user cannot go, and plugins are loaded only from folders that nobody else can write."""

    def __init__(self, folder):
        self.folder = Path(folder).resolve()
        self.installed = None

    @classmethod
    def from_environment(cls):
        return cls(REPOSITORY / os.environ.get("LATCHKEY_BUILD", "build/dev"))

    def install(self, target):
        for name in ("bin", "plugins"):
            if (self.folder / name).is_dir():
                shutil.copytree(self.folder / name, target / name)
                for path in (target / name, *(target / name).iterdir()):
                    shutil.chown(path, "root", "root")
                    path.chmod(0o755)
        self.installed = target
        return self

    def program(self, name):
        path = self.installed / "bin" / name
        if not path.exists():
            raise FileNotFoundError(f"{self.folder}/bin/{name} is not built: cmake --build {self.folder}")
        return path

    @property
    def plugins(self):
        return self.installed / "plugins"

    @staticmethod
    def environment(reports):
        """Plain environment for a daemon; what a sanitizer finds goes to files sanitizer.* in the folder `reports`."""
        common = f"log_path={reports}/sanitizer:exitcode=86"
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "ASAN_OPTIONS": f"{common}:detect_leaks=1:strict_string_checks=1",
            "UBSAN_OPTIONS": f"{common}:print_stacktrace=1",
            "TSAN_OPTIONS": f"{common}:second_deadlock_stack=1",
        }
