"""What `~/.ssh/config` says about a host."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.ssh_exception import CouldNotCanonicalize

from upkeep.errors import BadInput, Place

_INCLUDE_DEPTH = 16
_NOBODY = "no-host-has-this-name.invalid"


@dataclass(frozen=True)
class SshOptions:
    """The options Upkeep follows; None or empty where the file is silent."""

    host_name: str | None = None
    port: int | None = None
    user: str | None = None
    key_files: tuple[Path, ...] = ()
    known_hosts: tuple[Path, ...] | None = None
    known_as: str | None = None
    jump: tuple[str, ...] | None = None
    identities_only: bool = False
    proxy_command: str | None = None


def ssh_options(file: Path | None, name: str, address: str) -> SshOptions:
    """Options for a host that the inventory calls `name`: what the file says of the name wins over what it says of the address.

    Raises:
        BadInput: the file cannot be read.
    """
    config = _load(file)
    if config is None:
        return SshOptions()
    try:
        general, of_address, of_name = (config.lookup(text) for text in (_NOBODY, address, name))
        special = {key: value for key, value in of_name.items() if value != general.get(key)}
        merged: dict[str, object] = {**of_address, **special}
        merged["hostname"] = of_name.get("hostname", name)
        return _options(merged, name)
    except (CouldNotCanonicalize, paramiko.ssh_exception.ConfigParseError, KeyError, ValueError, ImportError) as error:
        raise _unusable(file, str(error)) from error


def _options(merged: Mapping[str, object], name: str) -> SshOptions:
    def text(key: str) -> str | None:
        value = merged.get(key)
        return value if isinstance(value, str) and value else None

    keys = merged.get("identityfile")
    host_name, port, jump, known = text("hostname"), text("port"), text("proxyjump"), text("userknownhostsfile")
    return SshOptions(
        host_name=host_name if host_name != name else None,
        port=int(port) if port else None,
        user=text("user"),
        key_files=tuple(Path(str(key)).expanduser() for key in keys) if isinstance(keys, list) else (),
        known_hosts=tuple(Path(part).expanduser() for part in shlex.split(known)) if known else None,
        known_as=text("hostkeyalias"),
        jump=() if jump == "none" else tuple(part.strip() for part in jump.split(",")) if jump else None,
        identities_only=text("identitiesonly") == "yes",
        proxy_command=text("proxycommand"),
    )


def _load(file: Path | None) -> paramiko.SSHConfig | None:
    if file is None:
        return None
    try:
        status = file.stat()
    except OSError:
        return None
    return _parse(file, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=8)
def _parse(file: Path, *_version: int) -> paramiko.SSHConfig:
    try:
        return paramiko.SSHConfig.from_text("\n".join(_lines(file, file.parent)))
    except (OSError, UnicodeDecodeError, paramiko.ssh_exception.ConfigParseError) as error:
        raise _unusable(file, str(error)) from error


def _lines(file: Path, folder: Path, depth: int = 0) -> Iterator[str]:
    """The file's lines with every `Include` replaced by what it names; paramiko passes over `Include`."""
    for line in file.read_text("utf-8").splitlines():
        word, _, rest = line.strip().replace("=", " ", 1).partition(" ")
        if word.lower() != "include" or depth >= _INCLUDE_DEPTH:
            yield line
            continue
        for pattern in shlex.split(rest):
            path = Path(pattern).expanduser()
            base, glob = (
                (Path(path.anchor), str(path.relative_to(path.anchor))) if path.is_absolute() else (folder, pattern)
            )
            for included in sorted(base.glob(glob)):
                yield from _lines(included, folder, depth + 1)


def _unusable(file: Path | None, found: str) -> BadInput:
    return BadInput(
        "the SSH configuration cannot be used",
        place=Place(str(file)),
        found=found,
        allowed="what ssh_config(5) describes",
        remedy="correct the file",
    )
