"""The hosts, their groups, labels, variables and how to reach them."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from upkeep.domain.document import Document, Name

_HOSTNAME = re.compile(
    r"^(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?$"
)


class Reach(Document):
    """How to log in to a host; every part may be left to a group, the defaults or `~/.ssh/config`."""

    user: str | None = Field(
        None, description="Login name; else from ~/.ssh/config, else the name of the person running Upkeep"
    )
    port: int | None = Field(None, ge=1, le=65535)
    key: str | None = Field(
        None, description="Private key file, mode 0600 or stricter; else ~/.ssh/config, the agent, ~/.ssh/id_*"
    )
    known_hosts: str | None = Field(None, description="File of accepted host keys; default ~/.ssh/known_hosts")
    jump: tuple[str, ...] | None = Field(
        None, description="Jump hosts, nearest first: [user@]host[:port] or names of this inventory"
    )
    become: Literal["sudo", "none"] | None = Field(
        None, description="How to get root on the host; default sudo, none for root logins"
    )
    sudo_password_env: str | None = Field(None, description="Environment variable that holds the sudo password")

    @field_validator("jump", mode="before")
    @classmethod
    def _one_or_more(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("user")
    @classmethod
    def _plain_user(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}\$?", value):
            message = "is not a login name; letters, digits, '_', '-', '.' and '@'"
            raise ValueError(message)
        return value


class Traits(Reach):
    """What defaults, groups and hosts can all carry."""

    labels: dict[str, str] = Field(default_factory=dict, description="Facts to select by: env: prod, zone: b")
    vars: dict[str, str] = Field(default_factory=dict, description="Values for {{ placeholders }} in profiles")

    @field_validator("labels", "vars", mode="before")
    @classmethod
    def _texts(cls, value: object) -> object:
        if isinstance(value, dict):
            return {str(k): v if isinstance(v, str) else _plain(v) for k, v in value.items()}
        return value


def _plain(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else value


class HostEntry(Traits):
    """One host as written under `hosts:`."""

    address: str | None = Field(None, description="IPv4, IPv6 or host name; default: the host's own name")
    groups: tuple[Name, ...] = ()

    @field_validator("address")
    @classmethod
    def _reachable_form(cls, value: str | None) -> str | None:
        return None if value is None else checked_address(value)


class Inventory(Document):
    """An inventory file: `defaults`, `groups`, `hosts`."""

    defaults: Traits = Field(default_factory=Traits)
    groups: dict[Name, Traits] = Field(default_factory=dict)
    hosts: dict[Name, HostEntry] = Field(min_length=1)

    @field_validator("groups", "hosts", mode="before")
    @classmethod
    def _bare_names(cls, value: object) -> object:
        if isinstance(value, dict):
            return {key: {} if item is None else item for key, item in value.items()}
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Inventory:
        seen: dict[tuple[str, int], str] = {}
        for name, entry in self.hosts.items():
            for group in entry.groups:
                if group not in self.groups:
                    known = ", ".join(self.groups) or "none"
                    message = f"host '{name}' is in group '{group}', which is not under groups; allowed: {known}"
                    raise ValueError(message)
            host = self.host(name)
            other = seen.setdefault((host.address.lower(), host.reach.port or 22), name)
            if other != name:
                where = f"{host.address} port {host.reach.port or 22}"
                message = f"hosts '{other}' and '{name}' are the same machine ({where}); keep one of them"
                raise ValueError(message)
        return self

    def host(self, name: str) -> Host:
        """One host with its groups' and the defaults' traits put in; nearest wins: host, later group, earlier group, defaults."""
        entry = self.hosts[name]
        layers = [self.defaults, *(self.groups[group] for group in entry.groups), entry]
        reach: dict[str, object] = {}
        labels: dict[str, str] = {}
        variables: dict[str, str] = {}
        for layer in layers:
            reach |= {key: getattr(layer, key) for key in Reach.model_fields if getattr(layer, key) is not None}
            labels |= layer.labels
            variables |= layer.vars
        address = entry.address or checked_address(name)
        return Host(
            name=name,
            address=address,
            groups=entry.groups,
            labels=labels,
            vars=variables,
            reach=Reach.model_validate(reach),
        )

    def all_hosts(self) -> tuple[Host, ...]:
        """Every host, in name order."""
        return tuple(self.host(name) for name in sorted(self.hosts))


class Host(Document):
    """One host, resolved."""

    name: Name
    address: str
    groups: tuple[str, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)
    vars: dict[str, str] = Field(default_factory=dict)
    reach: Reach = Field(default_factory=Reach)

    def variables(self) -> dict[str, str]:
        """Values for placeholders: the host's vars, its labels, `host` and `address`."""
        return {**self.labels, **self.vars, "host": self.name, "address": self.address}


def checked_address(value: str) -> str:
    """An IPv4 or IPv6 address or a host name, as given; raises ValueError for anything a shell or resolver could misread."""
    base, percent, zone = (value.strip("[]") if value.startswith("[") else value).partition("%")
    try:
        ipaddress.ip_address(base)
    except ValueError:
        ascii_name = _idna(value)
        if _HOSTNAME.match(ascii_name) and not re.fullmatch(r"[\d.]+", ascii_name):
            return ascii_name
    else:
        if not percent or re.fullmatch(r"[A-Za-z0-9._-]+", zone):
            return base + percent + zone
    message = f"'{value}' is not an address; allowed: IPv4, IPv6 or a host name (the port goes into 'port')"
    raise ValueError(message)


def _idna(value: str) -> str:
    try:
        return value if value.isascii() else value.encode("idna").decode("ascii")
    except UnicodeError:
        return value
