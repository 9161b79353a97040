"""What a host's services print: kept with time and process, asked for as by `journalctl`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROTATE_BYTES = 8 * 1024**2


@dataclass(frozen=True)
class Entry:
    """One line; `at` in seconds since 1970."""

    at: float
    identifier: str
    message: str

    def shown(self, style: str, host: str) -> str:
        """The entry as `journalctl -o STYLE` prints it."""
        when = datetime.fromtimestamp(self.at, UTC)
        if style == "cat":
            return self.message
        stamp = {
            "short": when.strftime("%b %d %H:%M:%S"),
            "short-iso": when.strftime("%Y-%m-%dT%H:%M:%S+0000"),
            "short-iso-precise": when.strftime("%Y-%m-%dT%H:%M:%S.%f+0000"),
            "short-unix": f"{self.at:.6f}",
        }[style]
        return f"{stamp} {host} {self.identifier}: {self.message}"


class UnitJournal:
    """One unit's lines in one file, oldest first; the file before it is kept once when it has grown large."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    def add(self, entry: Entry) -> None:
        """Append one line."""
        line = f"{entry.at:.6f}\t{entry.identifier}\t{entry.message}\n"
        self._file.write(line.encode("utf-8", "surrogateescape"))
        if self._file.tell() > ROTATE_BYTES:
            self._file.close()
            self.path.rename(_before(self.path))
            self._file = self.path.open("ab", buffering=0)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_entries(path: Path, since: float = 0.0, until: float = float("inf")) -> Iterator[Entry]:
    """The lines of a time span from the file of one unit."""
    for part in (_before(path), path):
        if not part.exists():
            continue
        with part.open(encoding="utf-8", errors="replace", newline="\n") as file:
            for line in file:
                at, identifier, message = line.rstrip("\n").split("\t", 2)
                if since <= float(at) <= until:
                    yield Entry(float(at), identifier, message)


def _before(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")
