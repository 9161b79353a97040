"""The lab as its users meet it: real SSH, real processes, real TLS."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import ssl
import stat
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import paramiko
import pytest

from upkeep.errors import BadInput, ServiceError
from upkeep.lab.host_files import install_agent
from upkeep.lab.lab import Lab
from upkeep.lab.layout import UNIT
from upkeep.lab.processes import marked
from upkeep.lab.releases import VARIANTS
from upkeep.lab.ssh_keys import new_ssh_key


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(
        tmp_path_factory.mktemp("lab")
        / "a rather long name, with blanks, because people's folders have such names"
        / "lab"
    )
    try:
        made.up(hosts=3)
        mark = made.spec.id
        yield made
    finally:
        made.remove()
    assert marked(mark) == []
    assert not made.directory.exists()


@pytest.fixture
def h1(lab: Lab) -> Iterator[paramiko.SSHClient]:
    with connect(lab, "h1") as client:
        yield client


@pytest.fixture
def healed(lab: Lab) -> Iterator[str]:
    """A host for a test to break; sound again afterwards."""
    yield "h3"
    lab.heal("h3")
    install(lab, "h3", "1.4.2")


def connect(lab: Lab, name: str, *, key: Path | None = None, seconds: float = 5) -> paramiko.SSHClient:
    host = next(host for host in lab.status() if host.name == name)
    client = paramiko.SSHClient()
    client.load_host_keys(str(lab.paths.known_hosts))
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    options: dict[str, Any] = {
        "allow_agent": False,
        "look_for_keys": False,
        "timeout": seconds,
        "banner_timeout": seconds,
        "auth_timeout": seconds,
    }
    client.connect(host.address, host.port, "lab", key_filename=str(key or lab.paths.client_key), **options)
    return client


def run(client: paramiko.SSHClient, command: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
    channel = client.get_transport().open_session()  # type: ignore[union-attr]
    channel.settimeout(20)
    channel.exec_command(command)
    for start in range(0, len(stdin), 32768):
        channel.sendall(stdin[start : start + 32768])
    channel.shutdown_write()
    output, errors = channel.makefile("rb").read(), channel.makefile_stderr("rb").read()
    return channel.recv_exit_status(), output, errors.decode()


def shown(lab: Lab, host: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in lab.systemctl(host, "show", UNIT).stdout.splitlines())


def ask(lab: Lab, path: str) -> Any:
    trusted = ssl.create_default_context(cafile=str(lab.paths.authority))
    with urllib.request.urlopen(lab.spec.control_centre + path, timeout=5, context=trusted) as answer:  # noqa: S310 - https
        return json.load(answer)


def agent(lab: Lab, host: str, path: str) -> str:
    spec = next(spec for spec in lab.spec.hosts if spec.name == host)
    with urllib.request.urlopen(f"http://{spec.address}:{spec.agent_port}{path}", timeout=5) as answer:
        return str(answer.read().decode())


def install(lab: Lab, host: str, release: str) -> None:
    folder = lab.paths.releases / release
    install_agent(next(folder.glob("*.tar.gz")), lab.paths.host(host).binary)
    lab.systemctl(host, "reset-failed", UNIT)
    lab.systemctl(host, "restart", UNIT)


def eventually(holds: Callable[[], object], seconds: float = 15) -> None:
    deadline = monotonic() + seconds
    while not holds():
        assert monotonic() < deadline, "what was waited for did not happen"
        sleep(0.05)


def answers(lab: Lab, host: str) -> bool:
    try:
        return "UP" in agent(lab, host, "/health")
    except OSError:
        return False


def test_every_agent_is_healthy_registered_and_in_step_with_the_policies(lab: Lab) -> None:
    status = lab.status()
    assert [(h.name, h.active, h.version, h.online, h.faults) for h in status] == [
        (f"h{n}", "active", "1.4.2", True, ()) for n in (1, 2, 3)
    ]
    assert {h.zone for h in status} == {"a", "b", "c"}
    assert json.loads(agent(lab, "h1", "/version")) == {"version": "1.4.2"}
    current = ask(lab, "/v1/policies/current")["version"]
    eventually(lambda: ask(lab, "/v1/nodes/h1")["policy_version"] == current)


def test_the_metrics_tell_figures_that_can_be_compared(lab: Lab) -> None:
    eventually(lambda: "requests_total 0" not in agent(lab, "h1", "/metrics"))
    figures = dict(line.rsplit(" ", 1) for line in agent(lab, "h1", "/metrics").splitlines())
    assert 0.02 < float(figures['request_seconds{quantile="0.95"}']) < 0.5
    assert 5e6 < float(figures["process_resident_memory_bytes"]) < 80e6
    assert float(figures["process_cpu_seconds_total"]) > 0


def test_up_does_nothing_to_a_lab_that_is_up(lab: Lab) -> None:
    before = shown(lab, "h1")["MainPID"]
    assert len(lab.up(hosts=3)) == 3
    assert shown(lab, "h1")["MainPID"] == before
    with pytest.raises(BadInput, match="another number of hosts"):
        lab.up(hosts=4)


def test_a_command_runs_in_the_hosts_own_directory_with_its_stand_ins_first(lab: Lab, h1: paramiko.SSHClient) -> None:
    code, output, errors = run(h1, 'echo "$PWD|$HOME|$USER"; command -v systemctl; echo oops >&2; exit 7')
    root = lab.paths.host("h1").root
    assert (code, output.decode().splitlines(), errors) == (
        7,
        [f"{root}|{root}|lab", f"{root.parent}/bin/systemctl"],
        "oops\n",
    )


def test_a_command_that_a_signal_kills_says_so(h1: paramiko.SSHClient) -> None:
    assert run(h1, "kill -9 $$")[0] == -1


def test_only_the_labs_key_and_user_get_in(lab: Lab, tmp_path: Path) -> None:
    new_ssh_key(tmp_path / "key", "stranger")
    with pytest.raises(paramiko.AuthenticationException):
        connect(lab, "h1", key=tmp_path / "key")
    command = ["ssh", "-F", str(lab.paths.ssh_config), "-o", "BatchMode=yes", "root@h1", "true"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert (refused.returncode, "Permission denied" in refused.stderr) == (255, True)


def test_ssh_of_openssh_works_with_the_labs_own_configuration(lab: Lab) -> None:
    command = ["ssh", "-F", str(lab.paths.ssh_config), "-o", "BatchMode=yes", "h2", "systemctl is-active mcp-agent"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (0, "active\n"), done.stderr


def test_ten_megabytes_pass_unchanged_in_both_directions(h1: paramiko.SSHClient) -> None:
    data = os.urandom(10 * 1024**2)
    code, output, _ = run(h1, f"head -c {len(data)} | tee upload | sha256sum; cat >/dev/null", data)
    assert (code, output.split()[0].decode()) == (0, hashlib.sha256(data).hexdigest())
    assert run(h1, "cat upload; rm upload")[1] == data


def test_a_command_ends_with_its_connection_and_a_detached_one_lives_on(lab: Lab) -> None:
    with connect(lab, "h1") as client:
        channel = client.get_transport().open_session()  # type: ignore[union-attr]
        away = "echo detached $$; exec sleep 61 >/dev/null 2>&1 </dev/null"
        channel.exec_command(f"setsid sh -c '{away}' & echo attached $$; exec sleep 62")
        said = channel.makefile()
        pids = dict(said.readline().split() for _ in range(2))
    attached, detached = int(pids["attached"]), int(pids["detached"])
    eventually(lambda: attached not in marked(lab.spec.id), 5)
    assert detached in marked(lab.spec.id)
    os.kill(detached, signal.SIGKILL)


def test_the_service_is_controlled_and_its_journal_read_over_ssh(lab: Lab, h1: paramiko.SSHClient) -> None:
    before = shown(lab, "h1")["MainPID"]
    since = int(run(h1, "date +%s")[1]) - 1
    assert run(h1, f"systemctl restart {UNIT}")[0] == 0
    code, output, _ = run(h1, f"systemctl show {UNIT} -p ActiveState -p MainPID -p NRestarts")
    now = dict(line.split("=") for line in output.decode().splitlines())
    assert (code, now["ActiveState"], now["NRestarts"]) == (0, "active", "0")
    assert now["MainPID"] != before
    eventually(lambda: answers(lab, "h1"))
    journal = run(h1, f"journalctl -u {UNIT} --since @{since} -o cat --no-pager")[1].decode()
    assert "INFO ms-720-agent [h1] version 1.4.2 is listening" in journal
    assert run(h1, "systemctl start nothing.service")[0] == 5


def test_stand_ins_answer_quickly(h1: paramiko.SSHClient) -> None:
    started = monotonic()
    assert run(h1, f"for i in 1 2 3 4 5 6 7 8 9 10; do systemctl is-active -q {UNIT}; done")[0] == 0
    assert (monotonic() - started) / 10 < 0.15


def test_a_restarted_agent_keeps_its_key_and_its_place_at_the_control_centre(lab: Lab) -> None:
    key = lab.paths.host("h2").state / "device.key"
    before = key.read_bytes()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    first = ask(lab, "/v1/nodes/h2")["registered_at"]
    lab.systemctl("h2", "restart", UNIT)
    eventually(lambda: ask(lab, "/v1/nodes/h2")["registered_at"] > first)
    assert key.read_bytes() == before


def test_an_unreachable_host_cuts_what_there_is_and_takes_nothing_new(lab: Lab, healed: str) -> None:
    client = connect(lab, healed)
    channel = client.get_transport().open_session()  # type: ignore[union-attr]
    channel.exec_command("sleep 60")
    lab.break_(healed, "unreachable")
    channel.settimeout(5)
    assert channel.recv(1) == b""
    with pytest.raises(OSError, match="Unable to connect"):
        connect(lab, healed)
    lab.heal(healed)
    with connect(lab, healed) as again:
        assert run(again, "echo back")[1] == b"back\n"


def test_a_frozen_host_takes_connections_and_never_answers(lab: Lab, healed: str) -> None:
    kept = connect(lab, healed)
    lab.break_(healed, "frozen")
    with pytest.raises((paramiko.SSHException, TimeoutError)):
        connect(lab, healed, seconds=0.5)
    with pytest.raises((paramiko.SSHException, TimeoutError)):
        kept.get_transport().open_session(timeout=0.5)  # type: ignore[union-attr]
    assert not answers_within(lab, healed, 0.5)
    lab.heal(healed)
    kept.close()
    eventually(lambda: answers(lab, healed))
    with connect(lab, healed) as again:
        assert run(again, "echo back")[1] == b"back\n"


def answers_within(lab: Lab, host: str, seconds: float) -> bool:
    spec = next(spec for spec in lab.spec.hosts if spec.name == host)
    try:
        with urllib.request.urlopen(f"http://{spec.address}:{spec.agent_port}/health", timeout=seconds):
            return True
    except OSError:
        return False


def test_a_host_that_shows_another_key_is_noticed(lab: Lab, healed: str) -> None:
    lab.break_(healed, "wrong-host-key")
    with pytest.raises(paramiko.BadHostKeyException):
        connect(lab, healed)


def test_a_masked_unit_cannot_be_restarted_until_it_is_healed(lab: Lab, healed: str) -> None:
    lab.break_(healed, "masked")
    assert shown(lab, healed)["LoadState"] == "masked"
    assert lab.systemctl(healed, "restart", UNIT).exit_code == 1
    lab.heal(healed)
    assert shown(lab, healed)["LoadState"] == "loaded"
    assert lab.systemctl(healed, "restart", UNIT).exit_code == 0


def test_a_full_disk_and_a_wrong_clock_show_on_the_host(lab: Lab, healed: str) -> None:
    lab.break_(healed, "disk-full")
    lab.break_(healed, "clock-ahead")
    with connect(lab, healed) as client:
        output = run(client, "df -P -k . | awk 'NR == 2 { print $4 }'; date +%s; PATH=/usr/bin:/bin date +%s")[1]
    free, shown_time, real_time = (int(word) for word in output.split())
    assert (free, shown_time - real_time) == (0, 86400)
    assert set(next(h for h in lab.status() if h.name == healed).faults) == {"disk-full", "clock-ahead"}


def test_a_hosts_fault_takes_hold_with_the_new_version_only(lab: Lab, healed: str) -> None:
    lab.break_(healed, "crash-loop")
    lab.systemctl(healed, "restart", UNIT)
    eventually(lambda: answers(lab, healed))
    install(lab, healed, "1.5.0")
    eventually(lambda: shown(lab, healed)["Result"] == "start-limit-hit")
    lab.heal(healed)
    eventually(lambda: answers(lab, healed))
    assert "1.5.0" in agent(lab, healed, "/version")


def test_unknown_hosts_and_faults_are_refused_by_name(lab: Lab) -> None:
    with pytest.raises(BadInput, match="h1, h2, h3"):
        lab.break_("h9", "slow")
    with pytest.raises(BadInput, match="crash-loop"):
        lab.break_("h1", "sleepy")
    assert lab.status()[0].faults == ()


def journal(lab: Lab, host: str) -> str:
    with connect(lab, host) as client:
        return run(client, f"journalctl -u {UNIT} -n 40 -o cat")[1].decode()


def crash_loops(lab: Lab, host: str) -> None:
    eventually(lambda: (shown(lab, host)["ActiveState"], shown(lab, host)["Result"]) == ("failed", "start-limit-hit"))
    assert "FATAL" in journal(lab, host)


def dies_later(lab: Lab, host: str) -> None:
    config = lab.paths.host(host).config
    config.write_text(config.read_text() + "lab_fault_after: 1\n")
    lab.systemctl(host, "restart", UNIT)
    eventually(lambda: answers(lab, host))
    eventually(lambda: int(shown(lab, host)["NRestarts"]) >= 1)
    assert "giving up" in journal(lab, host)


def stays_unregistered(lab: Lab, host: str) -> None:
    before = ask(lab, f"/v1/nodes/{host}")
    eventually(lambda: answers(lab, host))
    eventually(lambda: int(json.loads(agent(lab, host, "/health"))["uptime_seconds"]) >= 1)
    assert json.loads(agent(lab, host, "/health"))["registered"] is False
    assert ask(lab, f"/v1/nodes/{host}")["version"] == before["version"] == "1.4.2"


def is_slow(lab: Lab, host: str) -> None:
    eventually(lambda: answers(lab, host))

    def p95() -> float:
        return float(agent(lab, host, "/metrics").split('{quantile="0.95"} ')[1].split()[0])

    assert p95() > 0.14


def floods(lab: Lab, host: str) -> None:
    eventually(lambda: journal(lab, host).count(" ERROR ") >= 10)
    assert answers(lab, host)


def tells_another_version(lab: Lab, host: str) -> None:
    eventually(lambda: answers(lab, host))
    assert json.loads(agent(lab, host, "/version")) == {"version": "1.4.9"}
    program = str(lab.paths.host(host).binary)
    assert "1.5.0" in subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout


def rejects_its_configuration(lab: Lab, host: str) -> None:
    files = lab.paths.host(host)
    done = subprocess.run(
        [str(files.binary), "--check-config", str(files.config)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "heartbeat_interval" in done.stderr) == (1, True)


MISBEHAVIOUR: dict[str, Callable[[Lab, str], None]] = {
    "crash-loop": crash_loops,
    "dies-after-20s": dies_later,
    "not-registering": stays_unregistered,
    "slow": is_slow,
    "error-flood": floods,
    "wrong-version": tells_another_version,
    "config-rejected": rejects_its_configuration,
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_bad_release_misbehaves_as_it_is_named(lab: Lab, healed: str, variant: str) -> None:
    config = lab.paths.host(healed).config
    before = config.read_text()
    eventually(lambda: ask(lab, f"/v1/nodes/{healed}")["version"] == "1.4.2")
    install(lab, healed, f"1.5.0-{variant}")
    try:
        MISBEHAVIOUR[variant](lab, healed)
    finally:
        config.write_text(before)


def test_a_good_new_version_runs_and_reports_itself(lab: Lab, healed: str) -> None:
    install(lab, healed, "1.5.0")
    eventually(lambda: ask(lab, f"/v1/nodes/{healed}")["version"] == "1.5.0")
    assert " ERROR " not in journal(lab, healed).rpartition("version 1.5.0 is listening")[2]


def test_what_a_killed_fleet_process_left_behind_is_ended_and_the_lab_comes_up_again(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab")
    lab.up(hosts=1, bad_host="h1", bad_fault="slow")
    mark = lab.spec.id
    with connect(lab, "h1") as client:
        run(client, "setsid sleep 63 >/dev/null 2>&1 </dev/null &")
    fleet = next(pid for pid in marked(mark) if b"upkeep.lab.fleet" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(fleet, signal.SIGKILL)
    eventually(lambda: not lab.running)
    assert len(marked(mark)) == 2, "the agent and the detached process"
    assert [(h.active, h.version) for h in lab.status()] == [("down", "")]
    with pytest.raises(ServiceError):
        lab.break_("h1", "unreachable")
    assert lab.up(hosts=1)[0].online
    lab.down()
    assert marked(mark) == []
    lab.down()
    lab.remove()
    assert (lab.status(), lab.directory.exists()) == ((), False)


def test_a_lab_whose_folder_is_deleted_ends_by_itself(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab")
    lab.up(hosts=1)
    mark = lab.spec.id
    shutil.rmtree(lab.directory)
    eventually(lambda: marked(mark) == [])


def test_a_folder_that_is_no_lab_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(BadInput, match="no lab"):
        Lab(tmp_path).up(hosts=1)
    Lab(tmp_path).remove()
    assert (tmp_path / "thesis.txt").exists()


def test_a_lab_whose_address_is_taken_says_so(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab")
    lab.up(hosts=1)
    other = Lab(tmp_path / "other")
    shutil.copytree(lab.directory, other.directory, ignore=shutil.ignore_patterns("control.sock"))
    text = other.paths.spec.read_text().replace(lab.spec.id, "f" * 32)
    other.paths.spec.write_text(text)
    with pytest.raises(ServiceError, match="did not start"):
        other.up(hosts=1)
    assert marked("f" * 32) == []
    lab.remove()
