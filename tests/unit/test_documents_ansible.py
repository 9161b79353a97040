"""Ansible's inventories are understood as they are printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upkeep.documents import from_ansible, load_inventory
from upkeep.domain.inventory import Inventory
from upkeep.domain.selector import Selector
from upkeep.errors import BadInput

PRINTED = {
    "_meta": {
        "hostvars": {
            "db1": {
                "ansible_host": "10.0.0.9",
                "ansible_password": "hunter2",
                "role": "primary",
                "disks": ["a"],
                "weight": 2,
            },
            "web1": {
                "ansible_host": "10.0.0.1",
                "ansible_port": 2222,
                "ansible_user": "ops",
                "ansible_ssh_private_key_file": "~/.ssh/web",
                "tls": True,
            },
        }
    },
    "all": {"children": ["ungrouped", "site"], "vars": {"ansible_user": "root", "env": "prod"}},
    "site": {"children": ["web", "db"], "vars": {"depth": "outer"}},
    "web": {"hosts": ["web1", "web2"], "vars": {"depth": "inner"}},
    "db": {"hosts": ["db1"]},
    "ungrouped": {"hosts": ["lone"]},
}


def test_hosts_groups_and_variables_come_over() -> None:
    inventory = from_ansible(PRINTED)
    assert [host.name for host in inventory.all_hosts()] == ["db1", "lone", "web1", "web2"]
    web1, db1 = inventory.host("web1"), inventory.host("db1")
    assert (web1.address, web1.reach.port, web1.reach.user, web1.reach.key) == ("10.0.0.1", 2222, "ops", "~/.ssh/web")
    assert web1.vars == {"tls": "true", "env": "prod", "depth": "inner"}
    assert (db1.reach.user, db1.vars["role"], db1.vars["weight"], db1.vars["depth"]) == (
        "root",
        "primary",
        "2",
        "outer",
    )
    assert [h.name for h in Selector("@site").pick(inventory.all_hosts())] == ["db1", "web1", "web2"]
    assert inventory.host("lone").groups == ()


def test_passwords_of_ansible_are_not_taken_over() -> None:
    assert "hunter2" not in from_ansible(PRINTED).model_dump_json()


@pytest.mark.parametrize("name", ["hosts.json", "hosts.yaml", "hosts"])
def test_a_file_is_recognised_by_its_content(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(PRINTED, indent=4))
    assert load_inventory(path) == from_ansible(PRINTED)


def test_upkeeps_own_inventory_may_be_json_too(tmp_path: Path) -> None:
    path = tmp_path / "site.json"
    path.write_text('{"hosts": {"h1": {"address": "10.0.0.1", "vars": {"note": "\\ud83d\\ude00"}}}}')
    assert load_inventory(path).host("h1").vars["note"] == "\U0001f600"
    path.write_text('{"hosts":\n{"h1": {"port": "x"}}}')
    with pytest.raises(BadInput, match=r"site\.json:2: hosts\.h1\.port: has the wrong type"):
        load_inventory(path)
    path.write_text('{"hosts": {"h1": {},\n "h1": {}}}')
    with pytest.raises(BadInput, match="'h1' is given twice"):
        load_inventory(path)
    path.write_text('{"hosts": {"h1": {}')
    with pytest.raises(BadInput, match=r"site\.json:1: is not complete, valid JSON"):
        load_inventory(path)


def test_mistakes_are_told_in_ansibles_own_words(tmp_path: Path) -> None:
    path = tmp_path / "hosts.json"
    path.write_text('{"_meta": {"hostvars": {\n"h1": {\n"ansible_port": "ssh"}}}}')
    with pytest.raises(
        BadInput, match=r"hosts\.json:3: _meta\.hostvars\.h1\.ansible_port: has the wrong type; found: ssh"
    ):
        load_inventory(path)
    with pytest.raises(BadInput, match=r"^ansible-inventory: web\.vars\.ansible_port: has the wrong type"):
        from_ansible({"_meta": {}, "web": {"hosts": ["h1"], "vars": {"ansible_port": "ssh"}}})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "must be a mapping"),
        ({"_meta": {}}, "holds no host"),
        ({"_meta": {"hostvars": []}}, "holds no host"),
        ({"_meta": {"hostvars": [1]}}, "_meta.hostvars: must be a mapping"),
        ({"_meta": {}, "web": ["h1"]}, "web: must be a mapping"),
        ({"_meta": {}, "web": {"hosts": "h1"}}, r"web\.hosts: must be a list of names"),
        ({"_meta": {}, "a": {"hosts": ["h"], "children": ["b"]}, "b": {"children": ["a"]}}, "its own child"),
        ({"_meta": {}, "web": {"hosts": ["h1:22"]}}, "is not a name"),
    ],
)
def test_what_ansible_would_not_print_is_refused(data: object, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        from_ansible(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda t: (
        st.lists(t, max_size=3)
        | st.dictionaries(st.sampled_from(["_meta", "hostvars", "all", "g", "hosts", "vars", "children"]), t)
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_an_inventory_or_refused(data: object) -> None:
    try:
        read: object = from_ansible(data)
    except BadInput as refused:
        read = refused
    assert isinstance(read, (Inventory, BadInput))
