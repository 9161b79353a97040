"""The documents that let Upkeep work on a lab: inventory, plan, profile, known hosts."""

from __future__ import annotations

import shutil
from importlib import resources
from typing import Any

import yaml

from upkeep.lab.layout import LabPaths
from upkeep.lab.releases import PRODUCT
from upkeep.lab.spec import LOOPBACK, USER, LabSpec
from upkeep.lab.ssh_keys import known_hosts_line

KEY_ID = "lab"
LOAD_PER_CORE = 100.0
TEMPLATE = "agent.yaml.template"


def write_site(paths: LabPaths, spec: LabSpec) -> None:
    """Write every document of the lab anew."""
    _write(paths, "inventory.yaml", "The lab's fleet.", inventory(paths, spec))
    _write(paths, "profile.yaml", "The built-in profile ms-720 with what a lab needs.", profile(paths, spec))
    _write(paths, "plan.yaml", "Brings the lab's fleet to the new version, in quick steps.", plan(spec))
    watched = {**plan(spec), "name": f"{PRODUCT}-{spec.target_version}-watched", "triggers": triggers(spec)}
    _write(paths, "plan-with-triggers.yaml", "The same, watched by figures: see /v1/figures.", watched)
    (paths.directory / TEMPLATE).write_text(agent_template(spec), encoding="utf-8")
    _write(paths, "checks.yaml", "What a lab's hosts are not asked: they share one machine and its root.", checks())
    paths.known_hosts.write_text("".join(known_hosts_line(paths, host) for host in spec.hosts), encoding="utf-8")
    paths.ssh_config.write_text(ssh_config(paths, spec), encoding="utf-8")


def inventory(paths: LabPaths, spec: LabSpec) -> dict[str, Any]:
    """The inventory document."""
    return {
        "defaults": {
            "user": USER,
            "key": str(paths.client_key),
            "known_hosts": str(paths.known_hosts),
            "become": "none",
            "labels": {"env": "lab"},
        },
        "hosts": {
            host.name: {
                "address": host.address,
                "port": host.ssh_port,
                "labels": {"zone": host.zone},
                "vars": {
                    "root": str(paths.host(host.name).root),
                    "agent_address": host.address,
                    "agent_port": str(host.agent_port),
                },
            }
            for host in spec.hosts
        },
    }


def profile(paths: LabPaths, spec: LabSpec) -> dict[str, Any]:
    """The built-in profile, with the guard that needs no root, no owner to check, and the lab's own keys."""
    document = builtin_profile()
    document["service"] |= {"guard": "process", "start_timeout": "20s"}
    document["vars"] |= {
        "control_centre_address": LOOPBACK,
        "control_centre_port": str(spec.control_centre_port),
        "control_centre_ca": str(paths.authority),
    }
    for rule in document["files"]:
        rule.pop("owner")
    document["needs"]["load_per_core"] = LOAD_PER_CORE
    document["control_centre"]["register_within"] = "20s"
    document["trust"] = {"keys": [{"id": KEY_ID, "file": paths.release_public_key.name}]}
    if shutil.which("openssl") is None:
        document["probes"].pop("tls")
    return document


def builtin_profile() -> dict[str, Any]:
    """The built-in profile ms-720 as a document."""
    text = resources.files("upkeep.profiles").joinpath(f"{PRODUCT}.yaml").read_text("utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def plan(spec: LabSpec) -> dict[str, Any]:
    """The plan document: times for trying things out, limits for a small fleet."""
    return {
        "name": f"{PRODUCT}-{spec.target_version}",
        "profile": "profile.yaml",
        "release": f"releases/{spec.target_version}/release.json",
        "targets": "all",
        "stages": ["canary", "50%", "100%"],
        "down_budget_pct": 25,
        "healthy_time": "3s",
        "healthy_deadline": "30s",
        "dead_man": "60s",
        "soak": {"canary": "3s", "other": "2s", "every": "1s", "samples": 2},
        "failures": {"unreachable": {"at_least": 2, "at_pct": 30}},
        "repairs": {
            "configuration": [{"path": "{{ root }}/etc/mcp/agent.yaml", "template": TEMPLATE}],
            "backoff": "1s",
            "steady": "1s",
        },
    }


def agent_template(spec: LabSpec) -> str:
    """The agent's configuration as it is on every host of the lab, for repairs."""
    return (
        "# MS-720 agent\n"
        f"server: {spec.control_centre}\n"
        "tls_verify: true\n"
        "tls_ca: {{ root }}/etc/mcp/ca.pem\n"
        "agent_id: {{ host }}\n"
        "role: node\n"
        "listen: {{ agent_address }}:{{ agent_port }}\n"
        f"heartbeat_interval: {spec.heartbeat_seconds}\n"
        "log_level: INFO\n"
        "state_dir: {{ root }}/var/lib/mcp\n"
    )


def checks() -> dict[str, Any]:
    """The file of checks: what is this machine's affair and not a lab host's is left out."""
    own = (
        "host.cpu.busy",
        "host.cpu.iowait",
        "host.cpu.steal",
        "host.load.per_core",
        "host.pressure.io",
        "host.oom.kills",
    )
    more = (
        "net.overflows",
        "net.retransmitted",
        "net.orphans",
        "net.interface.drops",
        "net.interface.errors",
        "net.centre.left",
    )
    rights = ("agent.user", "agent.privileges", "host.uptime", "host.system.id")
    quick = {"agent.heartbeat.interval": {"warn": {"below": 1, "above": 60}}}
    return {"adjust": {**{name: {"off": True} for name in (*own, *more, *rights)}, **quick}}


def triggers(spec: LabSpec) -> list[dict[str, Any]]:
    """Rollback triggers on figures that can be set: `PUT /v1/figures/NAME {"value": …}`."""
    base = f"http://{LOOPBACK}:{spec.figures_port}/v1/figures"
    return [
        {
            "name": "errors of the key API over 10 %",
            "source": {"url": f"{base}/error_pct", "json_path": "value"},
            "above": 10,
            "lasting": "2s",
            "then": "roll back stage",
        },
        {
            "name": "replication lag over 30 s",
            "source": {"url": f"{base}/replication_lag_seconds", "json_path": "value"},
            "above": 30,
            "then": "roll back all",
        },
    ]


def ssh_config(paths: LabPaths, spec: LabSpec) -> str:
    """For a look by hand: `ssh -F ssh_config h1`."""
    common = (
        f'Host *\n  User {USER}\n  IdentityFile "{paths.client_key}"\n  IdentitiesOnly yes\n'
        f'  UserKnownHostsFile "{paths.known_hosts}"\n'
    )
    hosts = (f"Host {host.name}\n  HostName {host.address}\n  Port {host.ssh_port}\n" for host in spec.hosts)
    return "".join(hosts) + common


def _write(paths: LabPaths, name: str, title: str, document: dict[str, Any]) -> None:
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    (paths.directory / name).write_text(f"# {title}\n{text}", encoding="utf-8")
