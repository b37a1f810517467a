# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL of its own for a test: in a folder of the run's place, on a Unix socket there, as user postgres."""

import os
import subprocess
from pathlib import Path

from .daemon import Daemon
from .place import alive, descendants, kill
from .wait import wait_for

SYSTEM_USER = "postgres"  # Debian's package makes it; the server refuses to run as root


def programs():
    """The folder of the newest server's programs; None where there is none."""
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "postgres").exists()]
    return max(found, key=lambda path: int(path.parent.name), default=None)


class Postgres:
    """start() makes the cluster. `settings`: of postgresql.conf, besides ours. Who may
    connect: everyone on this machine by the socket; by TCP (where settings give listen_addresses) by TLS alone."""

    def __init__(self, place, name="postgres", settings=None):
        self.bin = programs()
        self.place = place
        self.folder = place.folder(name)
        self.data = self.folder / "data"
        given = {"listen_addresses": "", "unix_socket_directories": self.folder, "fsync": "off", "jit": "off",
                 "max_connections": "100", "shared_buffers": "32MB", **(settings or {})}
        self.port = str(given.get("port", 5432))
        options = [word for key, value in given.items() for word in ("-c", f"{key}={value}")]
        self.daemon = Daemon(place, [*self._as_user("--pdeathsig", "QUIT"), self.bin / "postgres", "-D", self.data, *options],
                             self.folder / "log", ready_option=False)

    @staticmethod
    def _as_user(*options):
        return ["setpriv", "--reuid", SYSTEM_USER, "--regid", SYSTEM_USER, "--init-groups", *options, "--"]

    def start(self):
        if not self.data.exists():
            subprocess.run(["chown", f"{SYSTEM_USER}:", self.folder], check=True)
            subprocess.run([*self._as_user(), self.bin / "initdb", "-D", self.data, "-U", SYSTEM_USER, "-A", "trust",
                            "--no-sync", "--no-locale", "-E", "UTF8"], check=True, stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, cwd="/")
            (self.data / "pg_hba.conf").write_text("local all all trust\nhostssl all all all trust\n")
        return self.serve()

    def make_database(self, name="latchkey"):
        """A database, owned by the role NAME_owner, whose rows the role NAME may write but whose tables it may not change."""
        for role in (name, f"{name}_owner"):
            self.sql(f"CREATE ROLE {role} LOGIN", database="postgres")
        self.sql(f"CREATE DATABASE {name} OWNER {name}_owner", database="postgres")
        self.sql(f"ALTER DEFAULT PRIVILEGES FOR ROLE {name}_owner GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {name}",
                 database=name)

    def serve(self):
        """Starts the server on the cluster that is there, and returns when it answers."""
        self.daemon.start()
        wait_for(lambda: subprocess.run([self.bin / "pg_isready", "-q", "-h", self.folder, "-p", self.port, "-d", "postgres"],
                                        check=False).returncode == 0 or not self.daemon.running, 30, "PostgreSQL to answer")
        if not self.daemon.running:
            raise RuntimeError(f"PostgreSQL ended: {self.daemon.log_text()[-2000:]}")
        return self

    def kill(self):
        """kill -9 of all its processes: nothing is written any more, nothing is said to clients."""
        family = descendants(self.daemon.pid)
        self.daemon.process.kill()
        self.daemon.process.wait()
        for pid in family:
            kill(pid)
        wait_for(lambda: not any(alive(pid) for pid in family), 10, "the end of PostgreSQL's processes")
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def stop(self):
        if self.daemon.running:
            self.daemon.process.send_signal(3)  # at once; its clients are cut off
            self.daemon.process.wait(20)

    def url(self, user=SYSTEM_USER, database="latchkey"):
        return f"host={self.folder} port={self.port} dbname={database} user={user}"

    def sql(self, text, database="latchkey", user=SYSTEM_USER):
        """Rows as psql prints them unaligned; RuntimeError with its words where it refuses."""
        done = subprocess.run(["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-p", self.port, "-U", user,
                               "-d", database, "-c", text], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
                              timeout=60, env={**os.environ, "PGCONNECT_TIMEOUT": "20"})
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip())
        return done.stdout.strip()
