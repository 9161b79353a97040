import subprocess
from pathlib import Path
from typing import Any

import pytest

from upkeep.domain.inventory import Host, Inventory
from upkeep.errors import BadInput
from upkeep.hosts.ssh_keys import read_key_file
from upkeep.hosts.ssh_target import SshTarget, check_reach, resolve_target


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name, phrase, kind in (("plain", "", "ed25519"), ("locked", "secret", "ed25519"), ("ec", "", "ecdsa")):
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", phrase, "-f", folder / name], check=True)
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".ssh").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return tmp_path


class Fleet:
    """An inventory and an SSH configuration to resolve hosts of."""

    def __init__(self, home: Path) -> None:
        self.home, self.config = home, home / ".ssh" / "config"
        self.environ = {"HOME": str(home), "LOGNAME": "ops"}

    def hosts(self, hosts: dict[str, Any], defaults: dict[str, Any] | None = None) -> dict[str, Host]:
        inventory = Inventory.model_validate({"hosts": hosts, "defaults": defaults or {}})
        return {host.name: host for host in inventory.all_hosts()}

    def target(
        self, hosts: dict[str, Any], name: str = "web", *, config: str = "", defaults: dict[str, Any] | None = None
    ) -> SshTarget:
        self.config.write_text(config)
        known = self.hosts(hosts, defaults)
        return resolve_target(known[name], known, ssh_config=self.config, environ=self.environ)

    def check(self, hosts: dict[str, Any]) -> dict[str, SshTarget]:
        known = self.hosts(hosts)
        return check_reach(known.values(), known, ssh_config=self.config, environ=self.environ)


@pytest.fixture
def fleet(home: Path) -> Fleet:
    return Fleet(home)


def test_defaults_are_those_of_ssh(fleet: Fleet) -> None:
    target = fleet.target({"web": {"address": "10.0.0.1"}})
    assert (target.address, target.port, target.user, target.become) == ("10.0.0.1", 22, "ops", "sudo")
    assert target.known_hosts == (fleet.home / ".ssh/known_hosts", Path("/etc/ssh/ssh_known_hosts"))
    assert target.default_keys[0] == fleet.home / ".ssh/id_ed25519"
    assert target.use_agent


def test_a_root_login_needs_no_sudo(fleet: Fleet) -> None:
    assert fleet.target({"web": {"user": "root"}}).become == "none"
    assert fleet.target({"web": {"user": "root", "become": "sudo"}}).become == "sudo"


CONFIG = """
Host web
  HostName 192.0.2.7
  Port 2200
  User deploy
  UserKnownHostsFile ~/k1 ~/k2
  HostKeyAlias web-alias
  IdentitiesOnly yes
  IdentityFile ~/none
Host 10.0.*
  User by-address
Host *
  User anybody
  Port 2022
"""


def test_the_ssh_configuration_fills_what_the_inventory_leaves_open(fleet: Fleet) -> None:
    target = fleet.target({"web": {}}, config=CONFIG)
    assert (target.address, target.port, target.user) == ("192.0.2.7", 2200, "deploy")
    assert target.known_hosts[:2] == (fleet.home / "k1", fleet.home / "k2")
    assert target.host_key_name == "web-alias"
    assert (target.use_agent, target.default_keys) == (False, ())


def test_the_inventory_wins_over_the_ssh_configuration(fleet: Fleet) -> None:
    target = fleet.target({"web": {"address": "10.0.0.1", "port": 22, "user": "me"}}, config=CONFIG)
    assert (target.address, target.port, target.user) == ("10.0.0.1", 22, "me")


def test_what_is_said_of_the_address_wins_over_what_is_said_of_all_hosts(fleet: Fleet) -> None:
    target = fleet.target({"db": {"address": "10.0.0.9"}}, "db", config=CONFIG)
    assert (target.user, target.port) == ("by-address", 2022)


def test_include_is_followed(fleet: Fleet) -> None:
    (fleet.home / ".ssh/conf.d").mkdir()
    (fleet.home / ".ssh/conf.d/web").write_text("Host web\n  User included\n")
    assert fleet.target({"web": {}}, config="Include conf.d/*\nHost *\n User other\n").user == "included"


def test_a_named_key_is_the_only_one_offered(fleet: Fleet, keys: Path) -> None:
    target = fleet.target({"web": {"key": str(keys / "plain")}}, config="Host *\n IdentityFile ~/.ssh/x\n")
    assert (target.keys, target.default_keys, target.use_agent) == ((keys / "plain",), (), False)


def test_identity_files_that_do_not_exist_are_passed_over(fleet: Fleet, keys: Path) -> None:
    assert fleet.target({"web": {}}, config=f"IdentityFile ~/none\nIdentityFile {keys}/ec\n").keys == (keys / "ec",)


def hops(target: SshTarget) -> list[tuple[str, str, int]]:
    return [(hop.user, hop.address, hop.port) for hop in target.jump]


def test_jump_hosts_are_names_of_the_inventory_or_written_out(fleet: Fleet) -> None:
    target = fleet.target(
        {"gate": {"address": "10.9.9.9", "user": "g"}, "web": {"jump": ["gate", "bob@mid:2222", "[2001:db8::1]:23"]}}
    )
    assert hops(target) == [("g", "10.9.9.9", 22), ("bob", "mid", 2222), ("ops", "2001:db8::1", 23)]


def test_a_jump_host_that_needs_one_itself_brings_it_along(fleet: Fleet) -> None:
    target = fleet.target({"outer": {}, "inner": {"jump": "outer"}, "web": {"jump": "inner"}})
    assert [hop.name for hop in target.jump] == ["outer", "inner"]


def test_proxy_jump_of_the_ssh_configuration_is_followed(fleet: Fleet) -> None:
    config = "Host web\n ProxyJump alice@gate:2200,mid\nHost mid\n User m\n"
    assert hops(fleet.target({"web": {}}, config=config)) == [("alice", "gate", 2200), ("m", "mid", 22)]
    assert fleet.target({"web": {"jump": []}}, config=config).jump == ()
    assert fleet.target({"web": {}}, config="ProxyJump none\n").jump == ()


def test_jump_hosts_named_in_the_defaults_do_not_jump_over_themselves(fleet: Fleet) -> None:
    hosts: dict[str, Any] = {"a": {}, "b": {}, "web": {}}
    assert [hop.name for hop in fleet.target(hosts, defaults={"jump": ["a", "b"]}).jump] == ["a", "b"]
    assert [hop.name for hop in fleet.target(hosts, "b", defaults={"jump": ["a", "b"]}).jump] == ["a"]


def test_written_out_jump_hosts_are_logged_in_to_with_the_key_of_the_host(fleet: Fleet, keys: Path) -> None:
    target = fleet.target({"web": {"jump": "gate", "key": str(keys / "plain")}})
    assert target.jump[0].keys == (keys / "plain",)


def test_a_sudo_password_comes_from_the_environment_and_is_never_shown(fleet: Fleet) -> None:
    fleet.environ["PW"] = "hunter2"
    target = fleet.target({"web": {"sudo_password_env": "PW"}})
    assert target.sudo_password is not None
    assert target.sudo_password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(target)


def test_a_sudo_password_is_not_asked_for_where_there_is_no_sudo(fleet: Fleet) -> None:
    assert fleet.target({"web": {"sudo_password_env": "PW", "user": "root"}}).sudo_password is None


def bad_key(fleet: Fleet, keys: Path, case: str) -> Path:
    path = fleet.home / "key"
    if case == "readable by others":
        path.write_bytes((keys / "plain").read_bytes())
        path.chmod(0o640)
    elif case == "a folder":
        path.mkdir(mode=0o700)
    elif case != "missing":
        path.write_bytes({"public": (keys / "plain.pub").read_bytes(), "rubbish": b"rubbish", "empty": b""}[case])
        path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("case", "found"),
    [
        ("missing", "No such file"),
        ("readable by others", "mode 0640"),
        ("a folder", "drwx"),
        ("public", "a public key"),
        ("rubbish", "ValueError"),
        ("empty", "an empty file"),
    ],
)
def test_an_unusable_key_file_is_named_with_host_finding_and_remedy(
    fleet: Fleet, keys: Path, case: str, found: str
) -> None:
    path = bad_key(fleet, keys, case)
    with pytest.raises(BadInput) as caught:
        fleet.target({"web": {"key": "~/key"}})
    message = str(caught.value)
    assert all(part in message for part in ("host 'web'", str(path), found, "allowed: ", "do: "))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("value", [None, ""])
def test_an_unset_password_variable_is_named(fleet: Fleet, value: str | None) -> None:
    if value is not None:
        fleet.environ["PW"] = value
    with pytest.raises(BadInput, match=r"host 'web'.*PW; found: (not set|empty); allowed: .*; do: export PW"):
        fleet.target({"web": {"sudo_password_env": "PW"}})


BAD_REACH: dict[str, tuple[dict[str, Any], str, str]] = {
    "a circle": (
        {"a": {"jump": "b"}, "b": {"jump": "a"}, "web": {"jump": "a"}},
        "",
        "in a circle; found: web -> a -> b",
    ),
    "no jump host": ({"web": {"jump": "a b"}}, "", "'a b' is not a jump host"),
    "an odd jump address": ({"web": {"jump": "-oProxyCommand=x"}}, "", "is not an address"),
    "a known_hosts file that is not there": ({"web": {"known_hosts": "/none"}}, "", "known_hosts file /none"),
    "ProxyCommand": ({"web": {}}, "ProxyCommand nc %h %p\n", "ProxyCommand; found: nc"),
    "a port that is none": ({"web": {}}, "Port ssh\n", "SSH configuration cannot be used"),
    "rubbish": ({"web": {}}, "Port\n", "SSH configuration cannot be used"),
}


@pytest.mark.parametrize("case", BAD_REACH)
def test_a_way_that_cannot_be_gone_is_bad_input(fleet: Fleet, case: str) -> None:
    hosts, config, said = BAD_REACH[case]
    with pytest.raises(BadInput) as caught:
        fleet.target(hosts, config=config)
    assert said in str(caught.value)


def test_a_key_with_a_passphrase_that_no_agent_holds_is_rejected_before_any_host_is_touched(
    fleet: Fleet, keys: Path
) -> None:
    with pytest.raises(BadInput, match=r"host 'web'.*passphrase; found: no agent.*ssh-add"):
        fleet.check({"web": {"key": str(keys / "locked")}})


def test_all_hosts_that_pass_are_returned_by_name(fleet: Fleet, keys: Path) -> None:
    assert set(fleet.check({"a": {"key": str(keys / "plain")}, "b": {}})) == {"a", "b"}


def test_a_password_of_two_lines_is_rejected_without_being_shown(fleet: Fleet) -> None:
    fleet.environ["PW"] = "two\nlines"
    with pytest.raises(BadInput) as caught:
        fleet.check({"web": {"sudo_password_env": "PW"}})
    assert "lines" not in str(caught.value).replace("one line", "")


def test_a_key_file_is_read_once(keys: Path) -> None:
    assert read_key_file(keys / "plain", "a").key is read_key_file(keys / "plain", "b").key
