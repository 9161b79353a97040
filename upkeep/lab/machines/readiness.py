"""How a machine says that it is up: systemd's notification, handed on by systemd-nspawn."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

_LOOK_AROUND_SECONDS = 0.2
_MESSAGE_BYTES = 4096


class ReadySignal:
    """A socket that hears of the next boot; open it before the boot is asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def __enter__(self) -> Self:
        self._path.unlink(missing_ok=True)
        self._socket.bind(str(self._path))
        self._socket.settimeout(_LOOK_AROUND_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def received(self) -> bool:
        """Whether the next message says that everything is started; waits for one a fifth of a second."""
        with contextlib.suppress(TimeoutError):
            return b"READY=1" in self._socket.recv(_MESSAGE_BYTES)
        return False
