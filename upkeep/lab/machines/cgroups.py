"""A machine's control groups: what freezes all of its processes at once and kills them at once."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from upkeep.errors import ServiceError

_MOUNT = Path("/sys/fs/cgroup")
_FOLDER = "upkeep-machines"
_ATTEMPTS, _PAUSE_SECONDS = 100, 0.02


class Cgroup:
    """One machine's groups, in each hierarchy systemd uses: one where cgroup v2 is alone, two where it lives beside v1."""

    def __init__(self, fleet: str, machine: str, mount: Path = _MOUNT) -> None:
        self._hierarchies = hierarchies(mount)
        self.paths = tuple(root / _FOLDER / fleet / machine for root in self._hierarchies)

    def create(self) -> None:
        """Make the groups; ones that are there are kept."""
        for path in self.paths:
            path.mkdir(parents=True, exist_ok=True)

    def freeze(self, *, frozen: bool) -> None:
        """Stop every process of the machine in its tracks, or let them go on."""
        self._write("cgroup.freeze", str(int(frozen)))

    def kill(self) -> None:
        """SIGKILL to every process of the machine, frozen or not."""
        self._write("cgroup.kill", "1")

    def remove(self) -> None:
        """Remove the groups, once the kernel is done with the processes that were in them."""
        for path in self.paths:
            for folder, _, _ in os.walk(path, topdown=False):
                _remove(Path(folder))
            for parent in (path.parent, path.parent.parent):
                with contextlib.suppress(OSError):
                    parent.rmdir()

    def _write(self, name: str, text: str) -> None:
        with contextlib.suppress(FileNotFoundError):  # the machine is off
            (self.paths[-1] / name).write_text(text)


def hierarchies(mount: Path = _MOUNT) -> tuple[Path, ...]:
    """The roots of systemd's hierarchies; the last is cgroup v2.

    Raises:
        ServiceError: there is no cgroup v2.
    """
    if (mount / "unified" / "cgroup.procs").exists():
        return mount / "systemd", mount / "unified"
    if (mount / "cgroup.controllers").exists():
        return (mount,)
    raise ServiceError(f"machines need cgroup v2 at {mount} or {mount / 'unified'}")


def _remove(folder: Path) -> None:
    for _ in range(_ATTEMPTS):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:  # busy until the last process is reaped, which nothing announces
            time.sleep(_PAUSE_SECONDS)
        else:
            return
