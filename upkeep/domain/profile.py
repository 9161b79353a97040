"""Agent profiles: everything about one agent product that does not change between releases.

A profile for another agent is a file, never code. Texts may hold `{{ placeholders }}`, filled per host from its vars and labels.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from upkeep.domain.document import Document, Duration, FileMode, Name, SizeBytes
from upkeep.domain.setting import Setting, SettingName
from upkeep.domain.version import Version


def _absolute(value: str) -> str:
    if not value.startswith(("/", "{{")) or "\n" in value or "\0" in value or "/../" in f"{value}/":
        message = f"'{value}' is not an absolute path without '..'"
        raise ValueError(message)
    return value


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        message = f"'{value}' is not a regular expression: {error}"
        raise ValueError(message) from error
    return value


def _version(value: str) -> str:
    Version.parse(value)
    return value


AbsolutePath = Annotated[str, AfterValidator(_absolute)]
Pattern = Annotated[str, AfterValidator(_pattern)]
VersionText = Annotated[str, AfterValidator(_version)]
Argv = Annotated[tuple[str, ...], Field(min_length=1)]


class Service(Document):
    """The agent's systemd unit."""

    unit: str = Field(pattern=r"^[A-Za-z0-9:_.@-]+\.service$")
    guard: Literal["auto", "systemd", "process"] = Field(
        "auto", description="What the dead-man switch runs as; auto: systemd where it is PID 1"
    )
    start_timeout: Duration = Field(timedelta(seconds=60), description="How long start or restart may take")


class Paths(Document):
    """Where the agent's parts lie on a host."""

    binary: AbsolutePath
    releases: AbsolutePath = Field(
        description="Folder of unpacked versions; on the same file system as what is switched"
    )
    config: tuple[AbsolutePath, ...] = ()
    state: tuple[AbsolutePath, ...] = Field(
        (), description="Data that a release may change; backed up and, for one-way changes, restored"
    )
    secrets: tuple[AbsolutePath, ...] = Field((), description="Certificates and keys; backed up with owner and mode")
    upkeep: AbsolutePath = Field(description="Where Upkeep keeps journal, lock and copies on the host")


class Installer(Document):
    """How a release's archive becomes the running agent."""

    kind: Literal["static"] = "static"
    binary_member: str = Field(description="Path or glob of the binary inside the tar.gz; must match exactly one file")
    config_check: tuple[str, ...] = Field(
        (), description="Command that judges the present configuration with the new binary; {{ candidate }} is its path"
    )


class VersionProbe(Document):
    """How to ask for a version: a command on the host or a URL asked from the host."""

    command: tuple[str, ...] = ()
    url: str = ""
    pattern: Pattern = r"(\d+(?:\.\d+)+(?:-[0-9A-Za-z.]+)?)"


class HttpProbe(Document):
    """One HTTP(S) question, asked on the host."""

    id: Name
    url: str = Field(pattern=r"^(https?://|\{\{)")
    status: int = 200
    body: Pattern | None = Field(None, description="Pattern the body must hold")
    latency: Duration | None = Field(None, description="Slower fails")
    timeout: Duration = timedelta(seconds=5)
    proxy: str | None = None
    ca: str | None = Field(None, description="CA file on the host")


class TcpProbe(Document):
    """One TCP connection, made from the host."""

    id: Name
    address: str
    port: int | str
    timeout: Duration = timedelta(seconds=3)


class DnsProbe(Document):
    """One name to resolve on the host."""

    id: Name
    name: str
    expect: tuple[str, ...] = Field((), description="Addresses of which one must come back; empty: any")


class TlsProbe(Document):
    """One TLS server whose chain, order, expiry and name are judged, as seen from the host."""

    id: Name
    address: str
    port: int | str = 443
    name: str = Field("", description="Name the certificate must carry; default: the address")
    ca: str = Field("", description="CA file on the controller; default: the system's")
    warn_days: int = 14


class CommandProbe(Document):
    """One command on the host: exit code 0 and, if given, the pattern must be found. Database, queue, load balancer."""

    id: Name
    command: Argv
    pattern: Pattern | None = None
    timeout: Duration = timedelta(seconds=10)
    remedy: str = ""


class Probes(Document):
    """Questions asked before and after the change."""

    http: tuple[HttpProbe, ...] = ()
    tcp: tuple[TcpProbe, ...] = ()
    dns: tuple[DnsProbe, ...] = ()
    tls: tuple[TlsProbe, ...] = ()
    command: tuple[CommandProbe, ...] = ()


class Requirement(Document):
    """One row of the compatibility matrix: below minimum blocks, below recommended warns."""

    id: Name
    command: Argv
    pattern: Pattern = r"(\d+(?:\.\d+)+)"
    minimum: VersionText | None = None
    recommended: VersionText | None = None
    remedy: str = ""


class FileRule(Document):
    """One file's mode and owner."""

    path: AbsolutePath
    mode: FileMode | None = None
    owner: str | None = Field(None, description="user or user:group")


class Metric(Document):
    """A figure compared before and after: read from a URL or command on the host, by pattern with one group."""

    id: Name
    url: str = ""
    command: tuple[str, ...] = ()
    pattern: Pattern
    unit: str = ""
    worse_by_pct: float | None = Field(None, gt=0, description="Worse than before by more than this fails")
    at_most: float | None = None
    higher_is_worse: bool = True


class Log(Document):
    """How the agent's journal is judged."""

    error: Pattern = r"\b(ERROR|FATAL|PANIC)\b"
    ignore: tuple[Pattern, ...] = ()
    at_most: int = Field(0, ge=0, description="New error lines since the restart that are still accepted")


class Needs(Document):
    """What a host must have to spare besides room for old, new and backup."""

    memory: SizeBytes = 64 * 1024**2
    disk: SizeBytes = 64 * 1024**2
    inodes: int = 1000
    load_per_core: float = 4.0
    clock_skew: Duration = timedelta(seconds=30)


class ControlCentre(Document):
    """Where the agent registers."""

    url: str = Field(pattern=r"^(https?://|\{\{)")
    ca: str = Field("", description="CA file on the controller")
    node: str = Field("{{ host }}", description="The agent's id at the control centre")
    token_env: str = Field("", description="Environment variable on the controller that holds the API token")
    register_within: Duration = timedelta(seconds=30)


class TrustedKey(Document):
    """A key that may sign releases."""

    id: Name
    file: str = Field(description="PEM public key, ECDSA P-256; relative to the document that names it")
    revoked: bool = False


class Trust(Document):
    """Who may sign this agent's releases."""

    keys: tuple[TrustedKey, ...] = Field(min_length=1)
    threshold: int = Field(1, ge=1, description="How many different keys must have signed")
    ca: str = Field("", description="CA file of the servers that releases come from; default: the system's")


class AgentProfile(Document):
    """One agent product."""

    name: Name
    title: str = ""
    service: Service
    paths: Paths
    installer: Installer
    installed_version: VersionProbe = Field(description="The version of the binary at paths.binary")
    running_version: VersionProbe = Field(description="The version the running agent reports")
    probes: Probes = Field(default_factory=Probes)
    metrics: tuple[Metric, ...] = ()
    log: Log = Field(default_factory=Log)
    files: tuple[FileRule, ...] = ()
    compatibility: tuple[Requirement, ...] = ()
    needs: Needs = Field(default_factory=Needs)
    control_centre: ControlCentre | None = None
    settings: dict[SettingName, Setting] = Field(
        default_factory=dict,
        description="Settings of the agent and where each may come from; heartbeat_interval, heartbeat_timeout, keep_alive, "
        "session_timeout, sync_interval, sync_retries and sync_timeout are also judged against each other",
    )
    vars: dict[str, str] = Field(
        default_factory=dict, description="Values for placeholders that a host need not set itself"
    )
    trust: Trust | None = Field(None, description="Who may sign releases; a plan may say it instead")
