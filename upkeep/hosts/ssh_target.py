"""How to reach one host over SSH: the inventory's word, completed by `~/.ssh/config` and by defaults."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr

from upkeep.domain.inventory import Host, Reach, checked_address
from upkeep.errors import BadInput
from upkeep.hosts.bootstrap import Become, encode_call
from upkeep.hosts.host_keys import load_known_hosts
from upkeep.hosts.ssh_config import SshOptions, ssh_options
from upkeep.hosts.ssh_keys import read_key_file, require_unlocked

_SSH_PORT = 22
_SYSTEM_KNOWN_HOSTS = Path("/etc/ssh/ssh_known_hosts")
_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
_JUMP = re.compile(
    r"^(?:ssh://)?(?:(?P<user>[^@\s]+)@)?(?P<address>\[[^\]]+\]|[^:\s]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.%\w]*)(?::(?P<port>\d+))?/?$"
)


@dataclass(frozen=True)
class SshTarget:
    """Everything a connection needs to know. Files in `keys` must exist; those in `default_keys` are tried when they do."""

    name: str
    address: str
    port: int = _SSH_PORT
    user: str = "root"
    keys: tuple[Path, ...] = ()
    default_keys: tuple[Path, ...] = ()
    use_agent: bool = True
    known_hosts: tuple[Path, ...] = ()
    known_as: str = ""
    jump: tuple[SshTarget, ...] = ()
    become: Become = "sudo"
    sudo_password: SecretStr | None = None
    connect_timeout: timedelta = timedelta(seconds=10)
    auth_timeout: timedelta = timedelta(seconds=20)
    keep_alive: timedelta = field(default=timedelta(seconds=15))

    @property
    def login(self) -> str:
        """`user@address:port`, for messages and for `ssh`."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"ssh://{self.user}@{address}:{self.port}"

    @property
    def host_key_name(self) -> str:
        """The name known_hosts is asked for."""
        return self.known_as or self.address


def resolve_target(
    host: Host, inventory_hosts: Mapping[str, Host], *, ssh_config: Path | None, environ: Mapping[str, str]
) -> SshTarget:
    """How to reach `host`; the inventory wins over `ssh_config` (None: no such file is read), which wins over defaults.

    Raises:
        BadInput: an unusable key file or configuration file, a variable that is not set, jump hosts that lead in a circle.
    """
    return _Resolver(inventory_hosts, ssh_config, environ).target(host, ())


def check_reach(
    hosts: Iterable[Host], inventory_hosts: Mapping[str, Host], *, ssh_config: Path | None, environ: Mapping[str, str]
) -> dict[str, SshTarget]:
    """The targets of all these hosts by name, after everything that can be known without the network has been looked at.

    Raises:
        BadInput: as `resolve_target`; also a locked key that no agent holds, an unreadable known_hosts file, an unusable sudo password.
    """
    targets = {
        host.name: resolve_target(host, inventory_hosts, ssh_config=ssh_config, environ=environ) for host in hosts
    }
    for target in targets.values():
        for hop in (*target.jump, target):
            for path in hop.keys:
                require_unlocked(read_key_file(path, hop.name), hop.name)
            load_known_hosts(hop.known_hosts)
        encode_call("", become=target.become, password=target.sudo_password)
    return targets


class _Resolver:
    def __init__(
        self, inventory_hosts: Mapping[str, Host], ssh_config: Path | None, environ: Mapping[str, str]
    ) -> None:
        self._hosts, self._config, self._environ = inventory_hosts, ssh_config, environ
        self._home = Path(environ.get("HOME") or Path.home())

    def target(self, host: Host, seen: tuple[str, ...]) -> SshTarget:
        """One host; `seen` are the hosts whose jump lists led here."""
        reach, options = host.reach, ssh_options(self._config, host.name, host.address)
        own_address = host.address != host.name or not options.host_name
        user = reach.user or options.user or self._login_name()
        target = SshTarget(
            name=host.name,
            address=host.address if own_address else _address(options.host_name or host.address, host.name),
            port=reach.port or options.port or _SSH_PORT,
            user=user,
            known_as=options.known_as or "",
            become=reach.become or ("none" if user == "root" else "sudo"),
        )
        target = self._with_keys(target, reach, options)
        target = replace(
            target,
            sudo_password=self._sudo_password(target, reach),
            known_hosts=self._known_hosts(host.name, reach, options),
        )
        return replace(target, jump=self._jumps(host, self._jump_names(host, options), (*seen, host.name), target))

    def _with_keys(self, target: SshTarget, reach: Reach, options: SshOptions) -> SshTarget:
        if reach.key is not None:
            path = self._path(reach.key)
            read_key_file(path, target.name)
            return replace(target, keys=(path,), use_agent=False)
        keys = tuple(key for key in options.key_files if key.exists())
        for path in keys:
            read_key_file(path, target.name)
        defaults = () if options.key_files else tuple(self._home / ".ssh" / name for name in _DEFAULT_KEYS)
        return replace(target, keys=keys, default_keys=defaults, use_agent=not options.identities_only)

    def _known_hosts(self, name: str, reach: Reach, options: SshOptions) -> tuple[Path, ...]:
        if reach.known_hosts is not None:
            path = self._path(reach.known_hosts)
            if not path.is_file():
                raise BadInput(
                    f"host '{name}': known_hosts file {path} cannot be opened",
                    found="no such file",
                    allowed="an existing file of accepted host keys",
                    remedy="correct 'known_hosts' in the inventory, or make the file with ssh-keyscan",
                )
            return (path,)
        return (*(options.known_hosts or (self._home / ".ssh" / "known_hosts",)), _SYSTEM_KNOWN_HOSTS)

    def _sudo_password(self, target: SshTarget, reach: Reach) -> SecretStr | None:
        variable = reach.sudo_password_env
        if variable is None or target.become == "none":
            return None
        value = self._environ.get(variable, "")
        if not value:
            raise BadInput(
                f"host '{target.name}': the sudo password is to come from the environment variable {variable}",
                found="not set" if variable not in self._environ else "empty",
                allowed="a variable that holds the password",
                remedy=f"export {variable}, or take sudo_password_env out of the inventory",
            )
        return SecretStr(value)

    def _jump_names(self, host: Host, options: SshOptions) -> tuple[str, ...]:
        named = host.reach.jump if host.reach.jump is not None else options.jump
        if named is None and options.proxy_command:
            raise BadInput(
                f"host '{host.name}': the SSH configuration names a ProxyCommand",
                found=options.proxy_command,
                allowed="ProxyJump",
                remedy="write ProxyJump, or 'jump' in the inventory",
            )
        # An inventory's defaults hold for its jump hosts as well: such a host is reached through those before it.
        names = tuple(named or ())
        return names[: names.index(host.name)] if host.name in names else names

    def _jumps(
        self, host: Host, names: tuple[str, ...], seen: tuple[str, ...], target: SshTarget
    ) -> tuple[SshTarget, ...]:
        hops: tuple[SshTarget, ...] = ()
        for text in names:
            hop = self._hop(text, host, seen, target)
            hops = (*hops, replace(hop, jump=())) if hops else (*hop.jump, replace(hop, jump=()))
        return hops

    def _hop(self, text: str, host: Host, seen: tuple[str, ...], target: SshTarget) -> SshTarget:
        if text in seen:
            raise BadInput(
                f"host '{host.name}': its jump hosts lead in a circle",
                found=" -> ".join((*seen, text)),
                allowed="a chain that ends",
                remedy="correct 'jump'",
            )
        if text in self._hosts:
            return self.target(self._hosts[text], seen)
        match = _JUMP.match(text)
        if match is None:
            raise BadInput(
                f"host '{host.name}': '{text}' is not a jump host",
                found=text,
                allowed="a name of the inventory, or [user@]host[:port]",
                remedy="correct 'jump'",
            )
        name = match["address"].strip("[]")
        reach = Reach(
            user=match["user"],
            port=int(match["port"]) if match["port"] else None,
            known_hosts=host.reach.known_hosts,
            jump=None,
        )
        stranger = Host.model_construct(
            name=name, address=_address(name, host.name), groups=(), labels={}, vars={}, reach=reach
        )
        hop = self.target(stranger, (*seen, text))
        return hop if hop.keys else replace(hop, keys=target.keys, use_agent=target.use_agent and hop.use_agent)

    def _path(self, text: str) -> Path:
        return self._home / text[2:] if text.startswith("~/") else Path(text).expanduser()

    def _login_name(self) -> str:
        return self._environ.get("LOGNAME") or self._environ.get("USER") or getpass.getuser()


def _address(text: str, name: str) -> str:
    try:
        return checked_address(text)
    except ValueError as error:
        raise BadInput(
            f"host '{name}': {error}",
            found=text,
            allowed="IPv4, IPv6 or a host name",
            remedy="correct HostName or 'jump'",
        ) from error


def default_ssh_config(environ: Mapping[str, str] = os.environ) -> Path:
    """The user's own SSH configuration file."""
    return Path(environ.get("HOME") or Path.home()) / ".ssh" / "config"
