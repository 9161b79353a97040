"""What comes back from a host: noise up to the marker, then the script's own output, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from upkeep.hosts.bootstrap import marker
from upkeep.hosts.transport import Reply

Sink = Callable[[bytes], None]

_NOISE_KEPT_BYTES = 65_536
_MARKER_TAIL_BYTES = 24  # a process id and a line break


@dataclass
class Cut:
    """One stream: everything up to and including the marker line is noise."""

    marker: bytes
    noise: bytes = b""
    pid: int | None = None

    @property
    def found(self) -> bool:
        """Whether the marker has been seen."""
        return self.pid is not None

    def feed(self, piece: bytes) -> bytes:
        """The part of `piece` that belongs to the script."""
        if self.found:
            return piece
        self.noise += piece
        start = self.noise.find(self.marker)
        end = self.noise.find(b"\n", start) if start >= 0 else -1
        if end < 0:
            self._forget(start)
            return b""
        rest, digits = self.noise[end + 1 :], self.noise[start + len(self.marker) : end].strip()
        self.noise, self.pid = self.noise[:start], int(digits) if digits.isdigit() else 0
        return rest

    def _forget(self, start: int) -> None:
        keep = _NOISE_KEPT_BYTES if start < 0 else len(self.noise) - start + _MARKER_TAIL_BYTES
        self.noise = self.noise[-keep:]


@dataclass
class Pile:
    """Bytes kept up to a limit; the rest is dropped and remembered as missing."""

    limit_bytes: int
    pieces: bytearray = field(default_factory=bytearray)
    truncated: bool = False

    def add(self, piece: bytes) -> None:
        """Keep what still fits."""
        room = self.limit_bytes - len(self.pieces)
        self.pieces += piece[:room] if len(piece) > room else piece
        self.truncated = self.truncated or len(piece) > room


class Answer:
    """Takes in both streams of one script as they arrive."""

    def __init__(self, nonce: bytes, limit_bytes: int, sink: Sink | None = None) -> None:
        self.out, self.err = Cut(marker(nonce)), Cut(marker(nonce))
        self._stdout, self._stderr = Pile(limit_bytes), Pile(limit_bytes)
        self._keep: Sink = sink or self._stdout.add

    @property
    def started(self) -> bool:
        """Whether the host began to run the script."""
        return self.out.found

    @property
    def pid(self) -> int:
        """The script's process id on the host; 0 as long as it is not known."""
        return self.out.pid or 0

    def stdout(self, piece: bytes) -> None:
        """Take in a piece of standard output."""
        own = self.out.feed(piece)
        if own:
            self._keep(own)

    def stderr(self, piece: bytes) -> None:
        """Take in a piece of standard error."""
        self._stderr.add(self.err.feed(piece))

    def noise(self) -> str:
        """What was printed although the script never began, as text."""
        return (self.err.noise + b"\n" + self.out.noise).decode("utf-8", "replace").strip()

    def reply(self, exit_code: int, seconds: float) -> Reply:
        """The whole answer."""
        return Reply(
            exit_code=exit_code,
            stdout=bytes(self._stdout.pieces),
            stderr=self._stderr.pieces.decode("utf-8", "replace").replace("\r\n", "\n"),
            seconds=seconds,
            truncated=self._stdout.truncated or self._stderr.truncated,
        )
