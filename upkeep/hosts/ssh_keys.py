"""Private keys: files checked and read once per process, and keys of the agent."""

from __future__ import annotations

import functools
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm

from upkeep.errors import BadInput

_FORBIDDEN_MODE = 0o077


@dataclass(frozen=True)
class KeyFile:
    """A private key file as far as it can be used: no `key` when a passphrase locks it, `public` is the public half if known."""

    path: Path
    key: paramiko.PKey | None
    public: bytes


def read_key_file(path: Path, host: str) -> KeyFile:
    """The key in `path`, after a look at the file's mode.

    Raises:
        BadInput: the file is missing, readable by others, or holds no private key that can be used.
    """
    named = f"host '{host}': key file {path}"
    try:
        status = path.stat()
    except OSError as error:
        raise BadInput(
            f"{named} cannot be opened",
            found=error.strerror,
            allowed="an existing private key file",
            remedy="correct 'key' in the inventory",
        ) from error
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISREG(status.st_mode):
        raise BadInput(
            f"{named} is not a file",
            found=stat.filemode(status.st_mode),
            allowed="a private key file",
            remedy="correct 'key' in the inventory",
        )
    if mode & _FORBIDDEN_MODE:
        raise BadInput(
            f"{named} can be used by others",
            found=f"mode {mode:04o}",
            allowed="mode 0600 or stricter",
            remedy=f"chmod 600 {shlex.quote(str(path))}",
        )
    problem, found = _try_load(path, (status.st_mtime_ns, status.st_size))
    if found is None:
        raise BadInput(
            f"{named} is not a usable private key",
            found=problem,
            allowed="ED25519, ECDSA or RSA in OpenSSH or PEM form",
            remedy="name the private key, not the .pub file",
        )
    return found


def require_unlocked(file: KeyFile, host: str) -> None:
    """Reject a key with a passphrase that no agent holds.

    Raises:
        BadInput: the key cannot be used without a person typing.
    """
    if file.key is not None:
        return
    with agent_keys() as held:
        if file.public and any(key.asbytes() == file.public for key in held):
            return
    raise BadInput(
        f"host '{host}': key file {file.path} has a passphrase",
        found="no agent that holds this key" + ("" if file.public else f", and no {file.path}.pub to know it by"),
        allowed="a key without passphrase, or one held by the SSH agent",
        remedy=f"ssh-add {shlex.quote(str(file.path))}"
        + (
            ""
            if file.public
            else f"; ssh-keygen -y -f {shlex.quote(str(file.path))} > {shlex.quote(str(file.path))}.pub"
        ),
    )


@contextmanager
def agent_keys() -> Iterator[tuple[paramiko.PKey, ...]]:
    """The keys of the agent that SSH_AUTH_SOCK names, usable inside the block; none when there is no agent."""
    try:
        agent = paramiko.Agent()
    except (paramiko.SSHException, OSError):
        yield ()
        return
    try:
        yield tuple(agent.get_keys())
    finally:
        agent.close()


@functools.lru_cache(maxsize=256)
def _try_load(path: Path, version: tuple[int, int]) -> tuple[str, KeyFile | None]:
    del version  # a changed file is another entry of the cache
    try:
        key = paramiko.PKey.from_path(path)
    except (paramiko.PasswordRequiredException, TypeError):
        return "", KeyFile(path, None, _public_half(path))
    except (paramiko.SSHException, paramiko.pkey.UnknownKeyType, UnsupportedAlgorithm, ValueError, OSError) as error:
        return _kind_of(path) or type(error).__name__, None
    return "", KeyFile(path, key, key.asbytes())


def _public_half(path: Path) -> bytes:
    with suppress(OSError, ValueError, IndexError, paramiko.SSHException):
        return paramiko.pkey.PublicBlob.from_file(f"{path}.pub").key_blob
    return b""


def _kind_of(path: Path) -> str:
    try:
        start = path.read_bytes()[:64]
    except OSError as error:
        return error.strerror or "unreadable"
    if start.startswith((b"ssh-", b"ecdsa-")):
        return "a public key"
    return "an empty file" if not start else ""
