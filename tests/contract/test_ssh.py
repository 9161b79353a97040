"""SSH itself: connections, keys, host keys, jump hosts and all the ways they fail."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from upkeep.errors import CommandTimeout, GarbledOutput, HostKeyRejected, LoginRefused, Unreachable
from upkeep.hosts.ssh import SshTransport
from upkeep.hosts.ssh_keys import read_key_file, require_unlocked
from upkeep.hosts.ssh_target import SshTarget
from upkeep.hosts.transport import Limits

if TYPE_CHECKING:
    from tests.contract.conftest import Sshd

pytestmark = pytest.mark.sshd

Connect = Callable[[SshTarget], SshTransport]
Start = Callable[..., "Sshd"]


def new_key(path: Path, phrase: str = "") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", phrase, "-f", path], check=True)
    return path


# connections


def test_one_connection_is_kept_for_all_scripts(sshd: Sshd, connect: Connect) -> None:
    transport = connect(sshd.target())
    ports = {transport.run("echo $SSH_CONNECTION").text for _ in range(3)}
    assert len(ports) == 1


def test_nothing_connects_before_the_first_script() -> None:
    SshTransport(SshTarget(name="web", address="192.0.2.1")).close()


def test_a_connection_made_early_is_the_one_the_scripts_use(sshd: Sshd, connect: Connect) -> None:
    transport = connect(sshd.target())
    transport.connect()
    early = transport._link
    assert early is not None
    assert transport.run("echo here").text == "here\n"
    assert transport._link is early


def test_an_early_connection_that_failed_is_told_to_the_first_script_and_tried_again_by_the_next(
    sshd: Sshd, connect: Connect
) -> None:
    transport = connect(sshd.target())
    transport.target = replace(sshd.target(), port=1)
    transport.connect()
    transport.target = sshd.target()
    with pytest.raises(Unreachable, match="no TCP connection"):
        transport.run("true")
    assert transport.run("echo here").text == "here\n"


def test_fast_algorithms_are_agreed_on_and_nothing_is_held_back(sshd: Sshd, connect: Connect) -> None:
    transport = connect(sshd.target())
    transport.run("true")
    assert transport._link is not None
    last = transport._link.last
    assert last.local_cipher == last.remote_cipher == "aes128-gcm@openssh.com"
    assert last.local_compression == "none"
    assert last.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_ten_scripts_on_one_connection_wait_for_no_timer(sshd: Sshd, connect: Connect) -> None:
    transport = connect(sshd.target())
    transport.run("true")
    best = min(timed(lambda: [transport.run("true") for _ in range(10)]) for _ in range(3))
    # Nagle and delayed acknowledgements alone would take 0.4 s; undisturbed it is 0.06 s.
    assert best < 0.3


def timed(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def test_several_threads_take_turns(sshd: Sshd, connect: Connect) -> None:
    transport = connect(sshd.target())
    said: list[str] = []
    threads = [threading.Thread(target=lambda n=n: said.append(transport.run(f"echo {n}").text)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(said) == [f"{n}\n" for n in range(5)]


def test_a_lost_connection_is_opened_again_before_the_next_script(start_sshd: Start, connect: Connect) -> None:
    server = start_sshd()
    transport = connect(server.target())
    first = transport.run("echo $SSH_CONNECTION").text
    server.cut()
    assert transport.run("echo $SSH_CONNECTION").text != first


def test_a_connection_lost_under_a_script_is_an_error_and_the_script_is_not_run_again(
    start_sshd: Start, connect: Connect, tmp_path: Path
) -> None:
    server = start_sshd()
    transport = connect(server.target())
    script = f"echo run >>{tmp_path}/runs; echo $$ >{tmp_path}/pid; echo begun; exec sleep 600"
    with pytest.raises(Unreachable, match="broke while the script ran"):
        transport.run(script, sink=lambda _: server.cut())
    assert (tmp_path / "runs").read_text() == "run\n"
    assert transport.run(f"kill $(cat {tmp_path}/pid); echo back").text == "back\n"


def test_a_host_that_freezes_under_a_script_runs_into_the_limit_and_holds_up_nobody(
    start_sshd: Start, connect: Connect
) -> None:
    server = start_sshd()
    transport = connect(server.target(connect_timeout=timedelta(seconds=1)))
    frozen: list[int] = []

    def freeze(_: bytes) -> None:
        frozen.extend(pid for session in server.sessions() for pid in (session, *children(session)))
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)

    started = time.monotonic()
    with pytest.raises(CommandTimeout, match="idle limit"):
        transport.run(
            "echo begun; cat >/dev/null", stdin=endless(), sink=freeze, limits=Limits(idle=timedelta(seconds=1))
        )
    assert time.monotonic() - started < 15
    for pid in frozen:
        os.kill(pid, signal.SIGCONT)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def endless() -> Iterator[bytes]:
    while True:
        yield bytes(1_000_000)


def test_a_port_that_nobody_listens_on_is_unreachable(sshd: Sshd, connect: Connect) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match=r"^web: no TCP connection to ssh://.*refused.*do: "):
            connect(sshd.target(port=taken.getsockname()[1])).run("true")


def test_a_name_that_does_not_exist_is_unreachable(sshd: Sshd, connect: Connect) -> None:
    with pytest.raises(Unreachable, match="cannot be resolved"):
        connect(sshd.target(address="no-such-host.invalid")).run("true")


@pytest.mark.parametrize("greeting", [b"", b"220 mail ESMTP\r\n"])
def test_a_host_that_never_says_that_it_speaks_ssh_is_given_up_in_time(
    sshd: Sshd, connect: Connect, greeting: bytes
) -> None:
    started = time.monotonic()
    with listening(greeting) as port, pytest.raises(Unreachable, match="sent no SSH banner within 1 s"):
        connect(sshd.target(port=port, connect_timeout=timedelta(seconds=1))).run("true")
    assert time.monotonic() - started < 5


def test_a_host_that_turns_a_login_away_because_of_others_is_asked_again(start_sshd: Start, connect: Connect) -> None:
    server = start_sshd("MaxStartups 2:100:2", "LogLevel DEBUG1")
    said: list[str] = []
    others = [socket.create_connection((server.address, server.port)) for _ in range(2)]
    for other in others:
        other.recv(4)
    login = threading.Thread(target=lambda: said.append(connect(server.target()).run("echo in").text))
    login.start()
    assert server.says("past MaxStartups")
    for other in others:
        other.close()
    login.join(20)
    assert said == ["in\n"]


def test_a_host_that_freezes_in_the_key_exchange_is_given_up_in_time(sshd: Sshd, connect: Connect) -> None:
    started = time.monotonic()
    with listening(b"SSH-2.0-OpenSSH_9.9\r\n") as port, pytest.raises(Unreachable, match="key exchange"):
        connect(sshd.target(port=port, connect_timeout=timedelta(seconds=1))).run("true")
    assert time.monotonic() - started < 5


@contextmanager
def listening(greeting: bytes) -> Iterator[int]:
    """A server that says one thing and then nothing."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            held.append(server.accept()[0])
            held[0].sendall(greeting)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(5)
    for connection in held:
        connection.close()


def test_ipv6_is_reached(start_sshd: Start, connect: Connect) -> None:
    try:
        server = start_sshd(address="::1")
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    assert connect(server.target()).run("echo six").text == "six\n"


def test_endless_output_is_taken_in_bounded_memory(sshd: Sshd, connect: Connect) -> None:
    transport = connect(sshd.target())
    transport.run("true")
    before = resident_kilobytes()
    with pytest.raises(CommandTimeout):
        transport.run("yes", limits=Limits(total=timedelta(seconds=1.5), output_bytes=1_000_000))
    assert resident_kilobytes() - before < 60_000


def resident_kilobytes() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])


# keys


def test_a_key_that_the_host_does_not_know_is_refused_with_what_was_tried(
    sshd: Sshd, connect: Connect, tmp_path: Path
) -> None:
    key = new_key(tmp_path / "other")
    with pytest.raises(LoginRefused, match=rf"took none of the keys offered.*{key}.*authorized_keys"):
        connect(sshd.target(keys=(key,))).run("true")


def test_without_any_key_the_login_is_refused(sshd: Sshd, connect: Connect) -> None:
    with pytest.raises(LoginRefused, match="no key to offer"):
        connect(sshd.target(keys=())).run("true")


def test_a_host_that_wants_more_than_a_key_is_told_apart(start_sshd: Start, connect: Connect) -> None:
    server = start_sshd("PasswordAuthentication yes", "AuthenticationMethods publickey,password")
    with pytest.raises(LoginRefused, match=r"wants more than a key.*password"):
        connect(server.target()).run("true")


def test_usual_key_files_are_tried_and_open_ones_passed_over(sshd: Sshd, connect: Connect, tmp_path: Path) -> None:
    readable = new_key(tmp_path / "id_rsa")
    readable.chmod(0o644)
    target = sshd.target(keys=(), default_keys=(tmp_path / "missing", readable, sshd.folder / "client"))
    assert connect(target).run("echo in").text == "in\n"


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """An agent of its own; call it to hand it a key."""
    place = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", place], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    monkeypatch.setenv("SSH_AUTH_SOCK", str(place))

    def add(key: Path) -> None:
        subprocess.run(["ssh-add", "-q", key], check=True)

    yield add
    process.terminate()
    process.wait(10)
    process.stdout.close()


def test_a_key_of_the_agent_is_used(sshd: Sshd, connect: Connect, agent: Callable[[Path], None]) -> None:
    agent(sshd.folder / "client")
    assert connect(sshd.target(keys=(), use_agent=True)).run("echo in").text == "in\n"


def test_a_key_with_a_passphrase_is_used_through_the_agent(
    start_sshd: Start, connect: Connect, agent: Callable[[Path], None], tmp_path: Path
) -> None:
    server = start_sshd()
    agent(new_key(tmp_path / "unlocked"))
    locked = tmp_path / "locked"
    locked.write_bytes((tmp_path / "unlocked").read_bytes())
    locked.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", locked], check=True)
    (tmp_path / "locked.pub").write_bytes((tmp_path / "unlocked.pub").read_bytes())
    (server.folder / "authorized_keys").write_bytes((tmp_path / "locked.pub").read_bytes())
    require_unlocked(read_key_file(locked, "web"), "web")
    assert connect(server.target(keys=(locked,))).run("echo in").text == "in\n"


# host keys


def rejected(connect: Connect, target: SshTarget) -> HostKeyRejected:
    with pytest.raises(HostKeyRejected) as caught:
        connect(target).run("true")
    return caught.value


def test_an_unknown_host_is_rejected_with_a_remedy_that_works(sshd: Sshd, connect: Connect, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    target = sshd.target(known_hosts=(known,))
    error = rejected(connect, target)
    printed = subprocess.run(
        ["ssh-keygen", "-lf", sshd.folder / "host_ed25519.pub"], check=True, capture_output=True, text=True
    ).stdout.split()[1]
    assert printed in error.evidence
    command = error.remedy.partition("then: ")[2]
    assert command.startswith("ssh-keyscan")
    subprocess.run(["sh", "-c", command], check=True, capture_output=True)
    assert connect(target).run("echo in").text == "in\n"


def test_a_changed_host_key_is_rejected_with_a_remedy_that_works(sshd: Sshd, connect: Connect, tmp_path: Path) -> None:
    other = new_key(tmp_path / "other")
    known = tmp_path / "known_hosts"
    known.write_text(sshd.known_line("ed25519", public=other.with_suffix(".pub")))
    target = sshd.target(known_hosts=(known,))
    remedy = rejected(connect, target).remedy
    remove = remedy.partition(": ")[2].partition("; then")[0]
    learn = remedy.partition("then: ")[2]
    for command in (remove, learn):
        subprocess.run(["sh", "-c", command], check=True, capture_output=True)
    assert connect(target).run("echo in").text == "in\n"


def test_a_revoked_host_key_is_rejected_though_it_is_known(sshd: Sshd, connect: Connect, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(sshd.known_line("ed25519") + sshd.known_line("ed25519", names="*", marker="@revoked"))
    assert "REVOKED" in rejected(connect, sshd.target(known_hosts=(known,))).problem


def test_a_host_known_by_another_type_only_is_rejected(sshd: Sshd, connect: Connect, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{sshd.port} ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQ==\n")
    assert "only knows ssh-rsa" in rejected(connect, sshd.target(known_hosts=(known,))).problem


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
def test_a_host_with_several_keys_is_asked_for_the_one_that_is_known(
    start_sshd: Start, connect: Connect, kind: str
) -> None:
    server = start_sshd(key_kinds=("rsa", "ecdsa", "ed25519"))
    server.known_hosts.write_text(server.known_line(kind))
    assert connect(server.target()).run("echo in").text == "in\n"


def test_hashed_names_are_understood(sshd: Sshd, connect: Connect, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(sshd.known_line("ed25519"))
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", known], check=True, capture_output=True)
    assert "127.0.0.1" not in known.read_text()
    assert connect(sshd.target(known_hosts=(known,))).run("echo in").text == "in\n"


def test_nobody_logs_in_before_the_host_key_is_verified(start_sshd: Start, connect: Connect, tmp_path: Path) -> None:
    server = start_sshd("LogLevel VERBOSE")
    rejected(connect, server.target(known_hosts=(tmp_path / "none",)))
    server.stop()
    assert not [line for line in server.log if "publickey" in line or "userauth" in line]


# jump hosts


def test_a_host_is_reached_through_one_and_through_two_jump_hosts(start_sshd: Start, connect: Connect) -> None:
    first, second, last = start_sshd(), start_sshd(), start_sshd()
    hops = (first.target(name="first"), second.target(name="second"))
    for jump in (hops[:1], hops):
        reply = connect(last.target(jump=jump)).run("cat", stdin=[b"x" * 1_000_000])
        assert len(reply.stdout) == 1_000_000
    assert any("Accepted publickey" in line for line in second.log)


def test_the_host_key_of_every_jump_host_is_verified(
    start_sshd: Start, sshd: Sshd, connect: Connect, tmp_path: Path
) -> None:
    middle = start_sshd()
    unknown = middle.target(name="gate", known_hosts=(tmp_path / "none",))
    for jump in ((unknown,), (sshd.target(name="outer"), unknown)):
        error = rejected(connect, sshd.target(jump=jump))
        assert (error.host, error.problem[:15]) == ("web", "jump host gate:")
    assert "ssh ssh://" in error.remedy


def test_the_host_behind_a_jump_host_is_verified(
    start_sshd: Start, sshd: Sshd, connect: Connect, tmp_path: Path
) -> None:
    error = rejected(connect, start_sshd().target(jump=(sshd.target(name="gate"),), known_hosts=(tmp_path / "none",)))
    assert error.problem.startswith("[127.0.0.1]:")


def test_trouble_with_a_jump_host_names_it(start_sshd: Start, sshd: Sshd, connect: Connect, tmp_path: Path) -> None:
    closed = start_sshd("AllowTcpForwarding no")
    with pytest.raises(Unreachable, match="jump host gate does not forward"):
        connect(sshd.target(jump=(closed.target(name="gate"),))).run("true")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match=r"jump host gate cannot reach 127.0.0.1"):
            connect(sshd.target(port=taken.getsockname()[1], jump=(sshd.target(name="gate"),))).run("true")
    with pytest.raises(LoginRefused, match=r"^web: jump host gate: "):
        connect(sshd.target(jump=(sshd.target(name="gate", keys=(new_key(tmp_path / "k"),)),))).run("true")


# logins that say or do something else


def test_noise_of_login_files_is_cut_off(start_sshd: Start, connect: Connect, tmp_path: Path) -> None:
    wrapper = tmp_path / "noisy"
    wrapper.write_text(
        '#!/bin/sh\necho "Welcome! upkeep-ready"; printf "no line end"; echo "warning: x" >&2\nexec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n'
    )
    wrapper.chmod(0o755)
    reply = connect(start_sshd(f"ForceCommand {wrapper}").target()).run("cat; echo err >&2", stdin=[b"exactly this"])
    assert (reply.stdout, reply.stderr) == (b"exactly this", "err\n")


def test_noise_of_a_real_bashrc_is_cut_off(start_sshd: Start, connect: Connect, tmp_path: Path) -> None:
    if Path(pwd.getpwuid(os.getuid()).pw_shell).name != "bash":
        pytest.skip("the login shell here is not bash")
    (tmp_path / ".bashrc").write_text(f"echo noise; echo noise >&2; touch {tmp_path}/read\n")
    server = start_sshd(f"SetEnv HOME={tmp_path} SHLVL=0")
    assert connect(server.target()).run("echo out").stdout == b"out\n"
    assert (tmp_path / "read").exists()


@pytest.mark.parametrize(
    ("command", "kind", "said"),
    [
        ("echo This account is currently not available.; exit 1", LoginRefused, "takes no commands"),
        ("echo 1: reboot", GarbledOutput, "ran something else"),
        ("cat >/dev/null", GarbledOutput, "ran something else"),
        ('cat | head -n 1; eval "$SSH_ORIGINAL_COMMAND"', GarbledOutput, "did not arrive whole"),
    ],
)
def test_a_login_that_does_something_else_is_told_apart(
    start_sshd: Start, connect: Connect, command: str, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        connect(start_sshd(f"ForceCommand {command}").target()).run("echo never")


def test_a_host_that_opens_no_sessions_is_told_apart(start_sshd: Start, connect: Connect) -> None:
    with pytest.raises(LoginRefused, match="refuses to run commands"):
        connect(start_sshd("MaxSessions 0").target()).run("true")


def test_old_hosts_are_refused_in_words(start_sshd: Start, connect: Connect) -> None:
    with pytest.raises(Unreachable, match="no algorithm that is still safe"):
        connect(start_sshd("KexAlgorithms diffie-hellman-group14-sha1").target()).run("true")


def test_paramiko_prints_nothing_of_its_own(
    start_sshd: Start, connect: Connect, capfd: pytest.CaptureFixture[str]
) -> None:
    server = start_sshd()
    transport = connect(replace(server.target(), keep_alive=timedelta(seconds=1)))
    transport.run("true")
    server.stop()
    with pytest.raises(Unreachable):
        transport.run("true")
    assert capfd.readouterr() == ("", "")


def test_a_connection_that_rested_is_opened_again_and_one_in_use_does_not_rest(sshd, connect) -> None:
    transport = connect(sshd.target())
    assert transport.run("echo one").text == "one\n"
    assert transport.rest()
    assert transport.run("echo two").text == "two\n"
    answers: list[bool] = []
    transport.run("echo here; sleep 0.2", sink=lambda _piece: answers.append(transport.rest()))
    assert answers[0] is False
