"""A PostgreSQL of one's own for the time of a test run: initialised in a folder that is thrown away, on a socket, never as root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

_INSTALLED = Path("/usr/lib/postgresql")
_QUICK = "-c fsync=off -c full_page_writes=off"
_SIZE = "-c max_connections=200 -c shared_buffers=64MB"


def programs() -> Path | None:
    """The folder with the newest initdb and pg_ctl; None where PostgreSQL is not installed."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    return max(
        (path.parent for path in _INSTALLED.glob("*/bin/initdb")), key=lambda p: int(p.parent.name), default=None
    )


class Cluster:
    """One running server; `database()` makes an empty database and says its address."""

    def __init__(self, sockets: Path) -> None:
        self.sockets = sockets

    def database(self) -> str:
        """The address of a new database."""
        name = f"upkeep_{uuid.uuid4().hex[:12]}"
        self._do(f"CREATE DATABASE {name}")
        return f"postgresql://upkeep@/{name}?host={self.sockets}"

    def copy(self, address: str) -> str:
        """The address of a new database that holds what the other holds now; nobody may be connected to that."""
        name = f"upkeep_{uuid.uuid4().hex[:12]}"
        self._do(f"CREATE DATABASE {name} TEMPLATE {address.partition('?')[0].rpartition('/')[2]}")
        return f"postgresql://upkeep@/{name}?host={self.sockets}"

    def drop(self, address: str) -> None:
        """Remove a database, whoever is connected to it: hundreds of tests would fill the disk."""
        self._do(f"DROP DATABASE {address.partition('?')[0].rpartition('/')[2]} WITH (FORCE)")

    def _do(self, statement: str) -> None:
        with psycopg.connect(host=str(self.sockets), user="upkeep", dbname="postgres", autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[arg-type, unused-ignore]


@contextmanager
def running_cluster(*, durable: bool = False) -> Iterator[Cluster]:
    """A server while the `with` lasts; run as the user `postgres` where this is root. `durable`: what is committed is on the disk."""
    binaries = programs()
    if binaries is None:
        message = "PostgreSQL is not installed: ./setup.sh machines"
        raise FileNotFoundError(message)
    owner = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="upkeep-pg-") as made:  # pytest's own folders are closed to other users
        folder = Path(made)
        if owner:
            os.chown(folder, owner.pw_uid, owner.pw_gid)

        def run(program: str, *arguments: str) -> None:
            subprocess.run(
                [binaries / program, *arguments],
                check=True,
                cwd=folder,
                stdout=subprocess.DEVNULL,
                user=owner.pw_uid if owner else None,
                group=owner.pw_gid if owner else None,
                extra_groups=[] if owner else None,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            )

        data = str(folder / "data")
        run("initdb", "-D", data, "-U", "upkeep", "--auth=trust", "--encoding=UTF8", "--no-sync", "--no-instructions")
        options = f"{'' if durable else _QUICK} {_SIZE} -c listen_addresses='' -c unix_socket_directories={folder}"
        run("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield Cluster(folder)
        finally:
            run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
