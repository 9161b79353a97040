"""Bad input: one clear message, exit code 2, nothing touched (issue 2, "Bad input"; faults 1, 5, 19, 20, 21)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.lab.controller import Controller, documents, tree_hash
from upkeep.audit.history import History
from upkeep.lab.bad_releases import FLAWS, build_bad_release, sign_with_p384
from upkeep.lab.certificates import public_pem
from upkeep.lab.lab import Lab
from upkeep.lab.releases import load_private_key


@pytest.fixture(scope="module")
def one_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One host for all these tests: none of them may touch it."""
    made = Lab(tmp_path_factory.mktemp("bad-input") / "lab")
    made.up(hosts=1)
    yield made
    made.remove()


def changed(path: Path, name: str, change: Callable[[dict], object]) -> Path:  # type: ignore[type-arg]
    """A copy of a document beside it, with one thing changed."""
    document = yaml.safe_load(path.read_text())
    change(document)
    copy = path.with_name(name)
    copy.write_text(yaml.safe_dump(document))
    return copy


def refused(controller: Controller, lab: Lab, *words: str) -> str:
    before = tree_hash(lab.paths.host("h1").directory, without=("journal",))
    log = lab.paths.log.stat().st_size
    done = controller("run", "maintenance", *words)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert tree_hash(lab.paths.host("h1").directory, without=("journal",)) == before
    assert lab.paths.log.stat().st_size == log, "the host was not even connected to"
    return done.stderr


PLANS: list[tuple[str, Callable[[dict], object], list[str]]] = [  # type: ignore[type-arg]
    ("unknown key", lambda p: p.update(targts="all"), ["plan-x.yaml:", "targts", "did you mean 'targets'"]),
    ("wrong type", lambda p: p.update(at_once="many"), ["at_once", "many"]),
    (
        "matches nothing",
        lambda p: p.update(targets="env=nowhere"),
        ["targets matches no host", "env=nowhere", "env=lab"],
    ),
    ("percentage over 100", lambda p: p.update(stages=["canary", "120%"]), ["stages", "120", "100"]),
    ("never reaches all", lambda p: p.update(stages=["canary", "50%"]), ["never reach the whole fleet", "100%"]),
    ("stage counts too small", lambda p: p.update(stages=[{"hosts": "nobody-*"}]), ["stages"]),
    ("no such profile", lambda p: p.update(profile="ms-721"), ["there is no profile 'ms-721'", "ms-720"]),
    ("no such release", lambda p: p.update(release="releases/9/release.json"), ["release"]),
]


@pytest.mark.parametrize(("change", "said"), [case[1:] for case in PLANS], ids=[case[0] for case in PLANS])
def test_a_plan_that_cannot_be_used_is_refused_with_place_and_remedy(
    one_host: Lab,
    controller: Controller,
    change: Callable[[dict], object],
    said: list[str],  # type: ignore[type-arg]
) -> None:
    plan = changed(one_host.plan_path, "plan-x.yaml", change)
    message = refused(controller, one_host, "-i", str(one_host.inventory_path), "-p", str(plan))
    assert all(text in message for text in said), message


INVENTORIES: list[tuple[str, Callable[[dict], object], list[str]]] = [  # type: ignore[type-arg]
    (
        "address with port",
        lambda i: i["hosts"]["h1"].update(address="10.0.0.1:22"),
        ["h1.address", "10.0.0.1:22", "port"],
    ),
    ("missing key file", lambda i: i["defaults"].update(key="/nowhere/key"), ["/nowhere/key"]),
    ("missing variable", lambda i: i["hosts"]["h1"]["vars"].pop("root"), []),
    ("no hosts", lambda i: i.update(hosts={}), ["hosts"]),
]


@pytest.mark.parametrize(
    ("change", "said"), [case[1:] for case in INVENTORIES if case[2]], ids=[case[0] for case in INVENTORIES if case[2]]
)
def test_an_inventory_that_cannot_be_used_is_refused(
    one_host: Lab,
    controller: Controller,
    change: Callable[[dict], object],
    said: list[str],  # type: ignore[type-arg]
) -> None:
    inventory = changed(one_host.inventory_path, "inventory-x.yaml", change)
    message = refused(controller, one_host, "-i", str(inventory), "-p", str(one_host.plan_path))
    assert all(text in message for text in said), message


def test_a_duplicate_host_is_named_with_both_lines(one_host: Lab, controller: Controller) -> None:
    inventory = one_host.inventory_path.with_name("inventory-x.yaml")
    inventory.write_text("hosts:\n  h1: {address: 127.77.0.1}\n  h1: {address: 127.77.0.2}\n")
    message = refused(controller, one_host, "-i", str(inventory), "-p", str(one_host.plan_path))
    assert "inventory-x.yaml:3" in message
    assert "line 2" in message


def test_a_key_that_others_can_read_is_refused(one_host: Lab, controller: Controller, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(one_host.paths.client_key.read_bytes())
    key.chmod(0o644)
    inventory = changed(one_host.inventory_path, "inventory-x.yaml", lambda i: i["defaults"].update(key=str(key)))
    message = refused(controller, one_host, "-i", str(inventory), "-p", str(one_host.plan_path))
    assert str(key) in message
    assert "0600" in message or "chmod" in message


def test_a_yaml_bomb_is_refused_at_once(one_host: Lab, controller: Controller) -> None:
    bomb = one_host.inventory_path.with_name("inventory-x.yaml")
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    bomb.write_text("\n".join(levels))
    message = refused(controller, one_host, "-i", str(bomb), "-p", str(one_host.plan_path))
    assert "inventory-x.yaml" in message


SAID = {
    "unsigned": "sign",
    "wrong-key": "sign",
    "p384-key": "wrong curve",
    "edited": "sign",
    "expired": "expired",
    "older": "10500",
    "truncated": "bytes",
    "parent-member": "..",
    "absolute-member": "absolute",
    "symlink-out": "link",
    "hardlink-out": "..",
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_release_that_cannot_be_trusted_reaches_no_host(
    one_host: Lab, controller: Controller, tmp_path: Path, flaw: str
) -> None:
    key = load_private_key(one_host.paths.release_key)
    files = build_bad_release(tmp_path / flaw, flaw, key=key)
    controller.home.mkdir()
    history = History.open(f"sqlite:///{controller.home / 'history.db'}")
    history.note_release(f"{files.release.product}/{files.release.channel}", "lab", 10500, "an earlier run")
    history.close()
    change = {"release": str(files.manifest)}
    if flaw == "p384-key":
        public = tmp_path / "p384.pem"
        public.write_bytes(public_pem(sign_with_p384(files)))
        change["trust"] = {"keys": [{"id": "p384", "file": str(public)}]}  # type: ignore[assignment]
    plan = changed(one_host.plan_path, "plan-x.yaml", lambda p: p.update(change))
    message = refused(controller, one_host, "-i", str(one_host.inventory_path), "-p", str(plan))
    assert SAID[flaw] in message, message


def test_refusals_are_json_too(one_host: Lab, controller: Controller) -> None:
    code, report = controller.json("run", "maintenance", "-i", "/nowhere.yaml", "-p", str(one_host.plan_path))
    assert (code, report["outcome"], report["hosts"]) == (2, "refused", {})
    assert "/nowhere.yaml" in report["reason"]
    code, report = controller.json("run", "maintenence", *documents(one_host))
    assert code == 2
    assert "maintenance" in report["reason"]
