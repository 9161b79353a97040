"""What a host is: read from answers of the pre-update check."""

from __future__ import annotations

from collections.abc import Mapping

from upkeep.domain.facts import HostFacts
from upkeep.domain.profile import AgentProfile
from upkeep.hosts.checks.agent import version_in
from upkeep.hosts.checks.platform import CPUS, LIBC
from upkeep.hosts.checks.service import properties
from upkeep.hosts.question import Answer

FACTS = f"""
( . /etc/os-release; echo "os_id=$ID"; echo "os_version=$VERSION_ID" ) 2>/dev/null
{{ read -r kernel </proc/sys/kernel/osrelease; }} 2>/dev/null || kernel=$(uname -r)
echo "kernel=$kernel"
echo "machine=${{its_machine:-$(uname -m)}}"
printf libc=
{LIBC}
{CPUS}
echo "cpus=$cpus"
echo "proxy=${{https_proxy:-${{HTTPS_PROXY:-}}}}"
"""

_NO_ANSWER = Answer(1, "")


def read_facts(profile: AgentProfile, heard: Mapping[str, Answer]) -> HostFacts:
    """Facts from the answers that were heard; what was not answered stays empty."""
    told = properties(heard.get("facts", _NO_ANSWER).text)
    shown = properties(heard.get("service.loaded", _NO_ANSWER).text)
    return HostFacts(
        os_id=told.get("os_id", ""),
        os_version=told.get("os_version", ""),
        kernel=told.get("kernel", ""),
        machine=told.get("machine", ""),
        libc=told.get("libc", ""),
        cpus=int(told["cpus"]) if told.get("cpus", "").isdecimal() else 0,
        installed_version=version_in(profile.installed_version, heard.get("agent.installed_version", _NO_ANSWER)),
        running_version=version_in(profile.running_version, heard.get("agent.running_version", _NO_ANSWER)),
        service_active=shown.get("ActiveState") == "active",
        proxy=told.get("proxy", ""),
    )
