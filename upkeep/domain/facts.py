"""What a host is, as far as stages and artifacts care."""

from __future__ import annotations

from pydantic import Field

from upkeep.domain.document import Document


class HostFacts(Document):
    """Read from the host in the pre-update check; an empty text means it could not be told."""

    os_id: str = ""
    os_version: str = ""
    kernel: str = Field("", description="uname -r")
    machine: str = Field("", description="uname -m")
    libc: str = Field("", description="gnu or musl")
    cpus: int = 0
    installed_version: str = ""
    running_version: str = ""
    service_active: bool = False
    proxy: str = ""

    def cohort(self, zone: str) -> str:
        """Hosts alike in OS, kernel (major.minor), architecture, agent version, zone and proxy path share this text."""
        kernel = ".".join(self.kernel.split(".")[:2])
        parts = (
            f"{self.os_id} {self.os_version}".strip(),
            kernel,
            self.machine,
            self.installed_version,
            zone,
            self.proxy,
        )
        return " / ".join(part or "-" for part in parts)
