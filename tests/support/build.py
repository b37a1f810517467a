# SPDX-License-Identifier: Apache-2.0
"""The programs under test: a CMake build folder's bin/ and plugins/, installed where any user can run them; and the
Debian packages of it, which the lab's VMs install."""

import os
import shutil
from pathlib import Path

from . import template

DEBIAN_RELEASES = {"bookworm": 12, "trixie": 13}
SUITE = os.environ.get("LATCHKEY_E2E_SUITE", "bookworm")  # of the lab's VMs
REPOSITORY = Path(__file__).resolve().parents[2]


class Build:
    """`folder` is LATCHKEY_BUILD. install() copies its programs below a root-owned place: a checkout may lie where
    the broker's own user cannot go, and plugins are loaded only from folders that nobody else can write.
    `packages` is LATCHKEY_PACKAGES, a folder with the output of packaging/build, or None: VMs then get the programs.
    `templates`: where the configuration files that these programs read are kept."""

    def __init__(self, folder, packages=None, templates=template.FOLDER):
        self.folder = Path(folder).resolve()
        self.packages = Path(packages).resolve() if packages else None
        self.templates = templates
        self.installed = None

    @classmethod
    def from_environment(cls):
        packages = os.environ.get("LATCHKEY_PACKAGES")
        return cls(REPOSITORY / os.environ.get("LATCHKEY_BUILD", "build/dev"), REPOSITORY / packages if packages else None)

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

    def debs(self, suite, *names):
        """The .deb files of these packages for a Debian release; [] where packages are not under test."""
        if not self.packages:
            return []
        found = []
        for name in names:
            paths = sorted(self.packages.glob(f"{name}_*~deb{DEBIAN_RELEASES[suite]}_*.deb"))
            if len(paths) != 1:
                raise FileNotFoundError(f"{len(paths)} packages {name} for {suite} in {self.packages}: packaging/build makes them")
            found += paths
        return found

    def fill(self, name, **values):
        """The configuration file `name`, as these programs read it."""
        return template.fill(name, self.templates, **values)

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
