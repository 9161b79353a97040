"""A profile for one host: nothing is left to fill in, or the host, key and variable are named."""

from __future__ import annotations

from typing import Any

import pytest

from upkeep.documents import resolve
from upkeep.domain.inventory import Host
from upkeep.domain.profile import AgentProfile
from upkeep.errors import BadInput


def profile(**changes: Any) -> AgentProfile:
    return AgentProfile.model_validate(
        {
            "name": "ms-720",
            "service": {"unit": "mcp-agent.service", "start_timeout": "90s"},
            "paths": {
                "binary": "{{ root }}/usr/local/bin/ms-720-agent",
                "releases": "{{ root }}/opt/ms-720/releases",
                "upkeep": "{{ root }}/var/lib/upkeep/ms-720",
            },
            "installer": {
                "binary_member": "*/agent",
                "config_check": ["{{ candidate }}", "--check-config", "{{ conf }}"],
            },
            "installed_version": {"command": ["{{ root }}/usr/local/bin/ms-720-agent", "--version"]},
            "running_version": {"url": "http://{{ address }}:{{ port }}/version"},
            "vars": {"root": "", "port": "8080", "etc": "{{ root }}/etc/mcp", "conf": "{{ etc }}/agent.yaml"},
            **changes,
        }
    )


HOST = Host(name="h1", address="10.0.0.1", labels={"zone": "b"}, vars={"port": "9090"})


def test_every_placeholder_is_filled_and_the_host_wins() -> None:
    filled = resolve(profile(), HOST)
    assert filled.paths.binary == "/usr/local/bin/ms-720-agent"
    assert filled.running_version.url == "http://10.0.0.1:9090/version"
    assert filled.installer.config_check == ("{{ candidate }}", "--check-config", "/etc/mcp/agent.yaml")
    assert filled.service.start_timeout.total_seconds() == 90
    rooted = resolve(profile(), HOST.model_copy(update={"vars": {"root": "/srv/h1"}}))
    assert rooted.installer.config_check[-1] == "/srv/h1/etc/mcp/agent.yaml"


def test_a_missing_variable_names_host_key_placeholder_and_remedy() -> None:
    wanting = profile(
        control_centre={"url": "https://{{ centre }}:8443"},
        probes={"tcp": [{"id": "db", "address": "{{ db }}", "port": 1}]},
    )
    with pytest.raises(BadInput) as caught:
        resolve(wanting, HOST)
    said = str(caught.value)
    assert "host 'h1' has no value for {{ db }}; without a value: 'db', 'centre'" in said
    assert said.startswith("profile ms-720: probes.tcp[0].address: ")
    assert "set vars.db for the host, its group or the defaults" in said


def test_candidate_has_a_meaning_in_the_config_check_only() -> None:
    with pytest.raises(BadInput, match=r"installed_version\.command\[0\]: .*candidate"):
        resolve(profile(installed_version={"command": ["{{ candidate }}"]}), HOST)


def test_a_profiles_var_may_use_those_above_it_only() -> None:
    with pytest.raises(BadInput, match=r"vars\.a: .*no value for {{ b }}"):
        resolve(profile(vars={"root": "", "port": "1", "conf": "", "a": "{{ b }}", "b": "x"}), HOST)


def test_what_a_host_says_is_put_in_and_not_read_again() -> None:
    sly = HOST.model_copy(update={"vars": {"port": "{{ root }}"}})
    assert resolve(profile(), sly).running_version.url == "http://10.0.0.1:{{ root }}/version"


def test_a_filled_text_that_is_not_allowed_is_refused() -> None:
    relative = HOST.model_copy(update={"vars": {"root": "srv"}})
    with pytest.raises(BadInput, match=r"profile ms-720 for host h1: paths\.binary: 'srv/usr.*not an absolute path"):
        resolve(profile(), relative)
