"""Becoming root on a real host: a throw-away user, a real sudo, rules that differ from test to test."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from upkeep.errors import CommandTimeout, LoginRefused, PrivilegeRefused
from upkeep.hosts.ssh import SshTransport
from upkeep.hosts.ssh_target import SshTarget
from upkeep.hosts.transport import Limits

if TYPE_CHECKING:
    from tests.contract.conftest import Sshd

pytestmark = [pytest.mark.sshd, pytest.mark.machines]

Connect = Callable[[SshTarget], SshTransport]
RULES = Path("/etc/sudoers.d")


class Operator:
    """A user of this machine, and what sudo allows it."""

    def __init__(self) -> None:
        self.name, self.password = f"upkeep-t{secrets.token_hex(3)}", secrets.token_hex(8)
        self.rules = RULES / self.name

    def create(self) -> None:
        subprocess.run(["useradd", "--create-home", "--shell", "/bin/sh", self.name], check=True)
        subprocess.run(["chpasswd"], input=f"{self.name}:{self.password}\n", text=True, check=True)

    def allow(self, *rules: str) -> None:
        """Write sudoers lines; {user} is filled in."""
        self.rules.write_text("".join(rule.format(user=self.name) + "\n" for rule in rules))
        self.rules.chmod(0o440)
        subprocess.run(["visudo", "-cqf", self.rules], check=True)

    def remove(self) -> None:
        self.rules.unlink(missing_ok=True)
        subprocess.run(["userdel", "--force", "--remove", self.name], check=False, capture_output=True)


@pytest.fixture
def operator() -> Iterator[Operator]:
    if os.geteuid() != 0:
        pytest.skip("needs root to make a user")
    if shutil.which("sudo") is None:
        pytest.skip("sudo is not installed (apt-get install sudo)")
    made = Operator()
    try:
        made.create()
        yield made
    finally:
        made.remove()


@pytest.fixture
def target(sshd: Sshd, operator: Operator) -> SshTarget:
    return sshd.target(user=operator.name, become="sudo")


def with_password(target: SshTarget, password: str) -> SshTarget:
    return SshTarget(**{**vars(target), "sudo_password": SecretStr(password)})


def test_a_rule_without_password_makes_a_script_root(operator: Operator, target: SshTarget, connect: Connect) -> None:
    operator.allow("{user} ALL=(ALL) NOPASSWD: ALL")
    transport = connect(target)
    assert transport.run("id -u; cat", become=True, stdin=[b"data"]).text == "0\ndata"
    assert transport.run("id -un").text == f"{operator.name}\n"


def test_a_rule_for_the_shell_alone_is_enough(operator: Operator, target: SshTarget, connect: Connect) -> None:
    operator.allow("{user} ALL=(root) NOPASSWD: /bin/sh")
    assert connect(target).run("id -u", become=True).text == "0\n"


@pytest.mark.parametrize("pty", ["use_pty", "!use_pty"])
def test_a_password_makes_a_script_root_and_never_reaches_it(
    operator: Operator, target: SshTarget, connect: Connect, pty: str
) -> None:
    operator.allow(f"Defaults:{{user}} lecture=always, timestamp_timeout=0, {pty}", "{user} ALL=(ALL) ALL")
    data = os.urandom(1_000_000)
    reply = connect(with_password(target, operator.password)).run("id -u; sha256sum", become=True, stdin=[data])
    assert reply.text.split()[:2] == ["0", hashlib.sha256(data).hexdigest()]
    assert (reply.exit_code, reply.stderr) == (0, "")


def test_a_password_that_sudo_does_not_ask_for_is_thrown_away(
    operator: Operator, target: SshTarget, connect: Connect
) -> None:
    operator.allow("{user} ALL=(ALL) NOPASSWD: ALL")
    assert connect(with_password(target, operator.password)).run("cat", become=True, stdin=[b"data"]).stdout == b"data"


def test_a_password_is_in_no_argument_list_and_no_environment(
    operator: Operator, target: SshTarget, connect: Connect
) -> None:
    operator.allow("{user} ALL=(ALL) ALL")
    script = "for f in /proc/[0-9]*/cmdline /proc/[0-9]*/environ; do tr '\\0' '\\n' <$f; done 2>/dev/null; true"
    reply = connect(with_password(target, operator.password)).run(script, become=True)
    assert "sudo" in reply.text
    assert operator.password not in reply.text


def test_a_wrong_password_is_said_once_and_quickly(
    operator: Operator, target: SshTarget, connect: Connect, tmp_path: Path
) -> None:
    operator.allow(f"Defaults:{{user}} logfile={tmp_path}/log", "{user} ALL=(ALL) ALL")
    started = time.monotonic()
    with pytest.raises(PrivilegeRefused, match=r"did not accept the password") as caught:
        connect(with_password(target, "wrong-word")).run("true", become=True)
    assert time.monotonic() - started < 10
    assert "wrong-word" not in str(caught.value) + repr(vars(caught.value))


def test_a_password_that_is_needed_and_not_given_is_asked_of_the_engineer(
    operator: Operator, target: SshTarget, connect: Connect
) -> None:
    operator.allow("{user} ALL=(ALL) ALL")
    with pytest.raises(PrivilegeRefused, match=r"asks for a password.*sudo_password_env"):
        connect(target).run("true", become=True)


@pytest.mark.parametrize("password", [None, "given"])
def test_a_user_without_a_rule_is_told_so(
    operator: Operator, target: SshTarget, connect: Connect, password: str | None
) -> None:
    with pytest.raises(PrivilegeRefused, match=r"has no rule|asks for a password"):
        connect(with_password(target, operator.password) if password else target).run("true", become=True)


def test_a_user_whose_rule_is_for_something_else_is_told_so(
    operator: Operator, target: SshTarget, connect: Connect
) -> None:
    operator.allow("{user} ALL=(ALL) NOPASSWD: /bin/true")
    with pytest.raises(PrivilegeRefused, match=r"has no rule|asks for a password"):
        connect(target).run("true", become=True)


def test_a_demand_for_a_terminal_is_told_apart(operator: Operator, target: SshTarget, connect: Connect) -> None:
    operator.allow("Defaults:{user} requiretty", "{user} ALL=(ALL) NOPASSWD: ALL")
    with pytest.raises(PrivilegeRefused, match=r"demands a terminal.*requiretty"):
        connect(target).run("true", become=True)


@pytest.mark.parametrize("pty", ["use_pty", "!use_pty"])
def test_a_limit_ends_a_script_of_root_as_well(
    operator: Operator, target: SshTarget, connect: Connect, tmp_path: Path, pty: str
) -> None:
    operator.allow(f"Defaults:{{user}} {pty}", "{user} ALL=(ALL) ALL")
    transport = connect(with_password(target, operator.password))
    with pytest.raises(CommandTimeout):
        transport.run(f"echo $$ >{tmp_path}/pid; sleep 600", become=True, limits=Limits(total=timedelta(seconds=1)))
    pid = (tmp_path / "pid").read_text().strip()
    end = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.05)  # a process of another parent cannot be waited for
    assert not Path(f"/proc/{pid}").exists()


def test_a_user_without_a_login_shell_is_told_apart(operator: Operator, target: SshTarget, connect: Connect) -> None:
    subprocess.run(["usermod", "--shell", "/usr/sbin/nologin", operator.name], check=True)
    with pytest.raises(LoginRefused, match=r"the login shell takes no commands.*usermod"):
        connect(target).run("true")
    with pytest.raises(LoginRefused):
        connect(target).run("true", become=True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "tcsh"])
def test_the_login_shell_does_not_matter(operator: Operator, target: SshTarget, connect: Connect, shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed here")
    operator.allow("{user} ALL=(ALL) ALL")
    subprocess.run(["usermod", "--shell", program, operator.name], check=True)
    home = Path("~" + operator.name).expanduser()
    for file in (".bashrc", ".zshenv", ".tcshrc", ".config/fish/config.fish"):
        (home / file).parent.mkdir(parents=True, exist_ok=True)
        (home / file).write_text("echo noise\n")
    reply = connect(with_password(target, operator.password)).run("echo \"$(id -u)\" '!$'", become=True)
    assert reply.text == "0 !$\n"
