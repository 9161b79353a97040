"""Release manifests: one version, its artifacts, what it requires and how it may be reached and left."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from upkeep.domain.document import Document, Name
from upkeep.domain.profile import Requirement, VersionText
from upkeep.domain.version import Version, VersionRule

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


class Artifact(Document):
    """One platform's archive."""

    os: Literal["linux"] = "linux"
    arch: str
    libc: Literal["any", "gnu", "musl"] = "any"
    url: str = Field(description="http(s) URL, or a path relative to the manifest")
    size_bytes: int = Field(gt=0)
    sha256: Sha256


class Release(Document):
    """A manifest; its signature covers the file's exact bytes (ECDSA P-256, SHA-256, DER)."""

    product: Name = Field(description="The agent profile's name")
    version: VersionText
    channel: Name = "stable"
    release_seq: int = Field(ge=0, description="Never falls within a channel; an older one than seen before is refused")
    expires: AwareDatetime
    artifacts: tuple[Artifact, ...] = Field(min_length=1)
    upgrade_from: str = Field("", description="Version rule for what may be upgraded directly, e.g. '>=1.3.0'")
    via: VersionText | None = Field(None, description="Stepping stone for hosts that upgrade_from does not allow")
    data_change: Literal["none", "reversible", "one-way"] = "none"
    requires: tuple[Requirement, ...] = ()
    notes: str = ""

    def artifact_for(self, machine: str, libc: str) -> Artifact | None:
        """The archive for a host that reports `machine` (uname -m) and `libc` (gnu or musl); None when there is none."""
        arch = ARCHITECTURES.get(machine, machine)
        fits = [a for a in self.artifacts if a.arch == arch and a.libc in {"any", libc}]
        return fits[0] if fits else None

    def upgrade_refused(self, installed: Version) -> str:
        """Why a host with `installed` may not go to this release directly; empty when it may."""
        target = Version.parse(self.version)
        if installed > target:
            return f"{installed} is newer than {target}; a downgrade is only done as a rollback of a recorded run"
        if self.upgrade_from and not VersionRule(self.upgrade_from).allows(installed):
            step = f"; go to {self.via} first" if self.via else ""
            return f"{target} can be reached from {self.upgrade_from}, not from {installed}{step}"
        return ""
