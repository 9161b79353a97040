"""The root filesystem all machines share, built once with this computer's own Debian or Ubuntu mirror and kept in the cache."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from upkeep.errors import ServiceError
from upkeep.lab.machines.processes import call

PACKAGES = (
    "bash",
    "ca-certificates",
    "curl",
    "dbus",
    "iproute2",
    "iputils-ping",
    "netcat-openbsd",
    "nftables",
    "openssh-server",
    "openssl",
    "procps",
    "python3-minimal",
    "sudo",
    "systemd",
    "systemd-sysv",
    "tcpdump",
)
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")
APT_SOURCES = Path("/etc/apt")
OS_RELEASE = Path("/etc/os-release")
_SOURCE = re.compile(r"^(?:URIs:\s*|deb\s+(?:\[[^\]]*\]\s*)?)(\S+)", re.MULTILINE)


def cache_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """`$UPKEEP_CACHE`, else `~/.cache/upkeep`; the machines' part of it."""
    return Path(environ.get("UPKEEP_CACHE") or Path.home() / ".cache" / "upkeep").absolute() / "machines"


def base_root(cache: Path | None = None) -> Path:
    """Where the root filesystem lies in the cache, once it is built; another recipe lies somewhere else."""
    suite = codename(OS_RELEASE.read_text("utf-8"))
    recipe = "\n".join((suite, platform.machine(), *PACKAGES, *LEFT_OUT))
    return (cache or cache_directory()) / f"base-{suite}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def build(root: Path) -> None:
    """Build the root filesystem at `root` if it is not there; about a minute, mostly downloads.

    Raises:
        ServiceError: mmdebstrap is missing or did not succeed.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(root.with_suffix(".lock")):
        if not root.exists():
            _bootstrap(root)


def codename(os_release: str) -> str:
    """The suite this computer runs, by its /etc/os-release.

    Raises:
        ServiceError: it names none.
    """
    found = re.search(r"^VERSION_CODENAME=\"?([a-z]+)", os_release, re.MULTILINE)
    if not found:
        raise ServiceError("machines need a computer with Debian or Ubuntu: /etc/os-release names no VERSION_CODENAME")
    return found[1]


def mirror(sources: Path = APT_SOURCES) -> str:
    """The first mirror that this computer's own apt uses.

    Raises:
        ServiceError: apt has none.
    """
    listed = [sources / "sources.list", *sorted((sources / "sources.list.d").glob("*"))]
    for path in (path for path in listed if path.is_file()):
        if found := _SOURCE.search(path.read_text("utf-8")):
            return found[1]
    raise ServiceError(f"apt has no mirror in {sources}")


def _bootstrap(root: Path) -> None:
    suite = codename(OS_RELEASE.read_text("utf-8"))
    unfinished = root.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    excluded = (f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT)
    options = ("--quiet", "--mode=root", "--variant=apt", f"--include={','.join(PACKAGES)}", *excluded)
    call(("mmdebstrap", *options, suite, unfinished, mirror()))
    unfinished.rename(root)


@contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
