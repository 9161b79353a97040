from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from upkeep.documents import load_inventory, load_plan, load_profile, resolve
from upkeep.domain.plan import Plan
from upkeep.errors import BadInput
from upkeep.lab.layout import LabPaths, default_directory
from upkeep.lab.site_files import write_site
from upkeep.lab.spec import LabSpec, free_ports, new_spec
from upkeep.lab.ssh_keys import new_ssh_key


@pytest.fixture
def site(tmp_path: Path) -> tuple[LabPaths, LabSpec]:
    paths, spec = LabPaths(tmp_path), new_spec(8, "1.4.2", "1.5.0")
    for host in spec.hosts:
        paths.host(host.name).directory.mkdir(parents=True)
        new_ssh_key(paths.host(host.name).host_key, host.name)
    write_site(paths, spec)
    return paths, spec


def test_upkeep_reads_every_document_of_the_lab(site: tuple[LabPaths, LabSpec]) -> None:
    paths, spec = site
    inventory, plan = load_inventory(paths.inventory), load_plan(paths.plan)
    assert [host.labels["zone"] for host in inventory.all_hosts()] == ["a", "b", "c", "a", "b", "c", "a", "b"]
    assert load_plan(paths.plan_with_triggers).triggers
    assert isinstance(plan, Plan)
    profile = resolve(load_profile(plan.profile, paths.plan), inventory.host("h3"))
    assert profile.paths.binary == str(paths.host("h3").binary)
    assert profile.running_version.url == f"http://{spec.hosts[2].address}:{spec.hosts[2].agent_port}/version"
    assert profile.control_centre is not None
    assert (profile.control_centre.url, profile.control_centre.node) == (spec.control_centre, "h3")
    assert profile.service.guard == "process"


def test_the_built_in_profile_has_plain_paths_and_says_which_variable_a_site_must_set(
    site: tuple[LabPaths, LabSpec], tmp_path: Path
) -> None:
    paths, _ = site
    profile = load_profile("ms-720", paths.plan)
    inventory = tmp_path / "real.yaml"
    inventory.write_text("hosts: {web-1: {}, web-2: {vars: {control_centre_address: mcp.example.org}}}")
    hosts = load_inventory(inventory)
    resolved = resolve(profile, hosts.host("web-2"))
    assert resolved.paths.binary == "/usr/local/bin/ms-720-agent"
    assert resolved.paths.config == ("/etc/mcp",)
    assert resolved.service.guard == "auto"
    with pytest.raises(BadInput, match="control_centre_address"):
        resolve(profile, hosts.host("web-1"))


def test_the_tls_probe_is_left_out_where_the_machine_has_no_openssl(
    site: tuple[LabPaths, LabSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, spec = site
    monkeypatch.setattr(shutil, "which", lambda _: None)
    write_site(paths, spec)
    assert load_profile(str(paths.profile), paths.plan).probes.tls == ()


def test_every_host_has_an_address_of_its_own_and_known_hosts_names_them_all(site: tuple[LabPaths, LabSpec]) -> None:
    paths, spec = site
    assert len({(host.address, host.ssh_port) for host in spec.hosts}) == 8
    lines = paths.known_hosts.read_text().splitlines()
    assert [line.split()[0] for line in lines] == [f"[{host.address}]:{host.ssh_port}" for host in spec.hosts]


def test_without_further_loopback_addresses_hosts_differ_by_port(monkeypatch: pytest.MonkeyPatch) -> None:
    binds = "upkeep.lab.spec._binds"
    monkeypatch.setattr(binds, lambda address, _: address == "127.0.0.1")
    spec = new_spec(5, "1.4.2", "1.5.0")
    ports = [port for host in spec.hosts for port in (host.ssh_port, host.agent_port)]
    assert {host.address for host in spec.hosts} == {"127.0.0.1"}
    assert len(set(ports)) == 10


def test_ports_in_use_are_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upkeep.lab.spec._binds", lambda _, port: port % 2 == 0)
    assert all(free_ports(["127.0.0.1"], [0])[0] % 2 == 0 for _ in range(20))


def test_the_lab_lies_in_the_home_of_upkeep(tmp_path: Path) -> None:
    assert default_directory({"UPKEEP_HOME": str(tmp_path)}) == tmp_path / "lab"
    assert default_directory({}).parts[-4:] == (".local", "state", "upkeep", "lab")
