"""What else happens to hosts: full, read-only, frozen, slow, drifted, masked, crashing (faults 9, 12, 14, 16, 24, 32, 33-36, 38, 39)."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.torture import agent, invariants
from tests.torture.host import Host
from tests.torture.points import Torture, at_every_point
from tests.torture.settling import LATE, SOON, after_switch, anew, back, dead_man, goes_back_alone
from upkeep.domain.change import JournalState
from upkeep.errors import CommandFailed, CommandTimeout, HostError, HostLocked, UpkeepError
from upkeep.hosts.host_change import Order
from upkeep.hosts.ssh import SshTransport
from upkeep.hosts.transport import Limits
from upkeep.lab.machines import faults
from upkeep.lab.machines.layout import bridge_port, namespace_path

pytestmark = [pytest.mark.machines, pytest.mark.timeout(1200), pytest.mark.xdist_group("torture")]

Fault = Callable[..., None]


def torture_of_the_switch(fault: Callable[[Host], None], settle) -> Torture:
    """The fault comes at a point of the switch, which then goes on."""

    def strike(host: Host) -> None:
        fault(host)
        host.trap.let_go()

    return Torture(
        prepare=lambda host, number: anew(host).staged(dead_man=dead_man(number)),
        step=lambda host, order: host.change.switch(order),
        strike=strike,
        settle=settle,
    )


def use_up_inodes(host: Host) -> None:
    """Take the few inodes that `few_inodes` left."""
    folder = host.machine.disk_inside() / "torture.d"
    with suppress(OSError):
        for number in range(100_000):
            (folder / f"last-{number}").touch(exist_ok=False)


def few_inodes(host: Host) -> None:
    """Leave a thousand inodes on the disk, so that the rest is quickly used up."""
    folder = host.machine.disk_inside() / "torture.d"
    folder.mkdir(exist_ok=True)
    for last in folder.glob("last-*"):
        last.unlink()
    left = os.statvfs(folder).f_favail - 1000
    for number in range(left):
        (folder / f"first-{time.monotonic_ns()}-{number}").touch()


def many_inodes(host: Host) -> None:
    shutil.rmtree(host.machine.disk_inside() / "torture.d", ignore_errors=True)


@pytest.mark.parametrize(
    ("fill", "drain"),
    [(lambda host: faults.fill(host.machine), lambda host: faults.drain(host.machine)), (use_up_inodes, few_inodes)],
    ids=["bytes", "inodes"],
)
def test_a_disk_that_fills_in_the_switch_leaves_one_version_and_enough_room_for_the_way_back(
    hosts: list[Host], fill: Callable[[Host], None], drain: Callable[[Host], None]
) -> None:
    def prepare(host: Host, number: int) -> Order:
        drain(host)
        return anew(host).staged(dead_man=LATE)

    def settle(host: Host, order: Order, number: int, error: BaseException | None) -> None:
        invariants.well_told(error, host)
        state = invariants.hold(host)
        if number % 2 and state.journal.state in {JournalState.ARMED, JournalState.SWITCHED}:
            host.change.roll_back(order, "the disk is full", with_state=False)
            invariants.at_rest(host, agent.OLD)
        drain(host)
        after_switch(host, order, 0 if error is None else 2)

    try:
        torture = replace(torture_of_the_switch(fill, settle), prepare=prepare)
        assert at_every_point(hosts, torture, step=3) > 10
    finally:
        for host in hosts:
            many_inodes(host)


def test_a_root_file_system_that_turns_read_only_in_the_switch_is_one_good_version_after_the_repair(
    hosts: list[Host],
) -> None:
    def settle(host: Host, order: Order, number: int, error: BaseException | None) -> None:
        invariants.well_told(error, host)
        host.hang_up()
        faults.heal(host.machine)
        after_switch(host, order, number)

    torture = torture_of_the_switch(lambda host: faults.turn_read_only(host.machine), settle)
    assert at_every_point(hosts, torture, step=5) > 8


def test_on_a_read_only_host_nothing_begins_and_the_error_says_so(host: Host) -> None:
    faults.turn_read_only(host.machine)
    with pytest.raises(UpkeepError, match=f"{host.name}: .*(disk|ead-only)") as raised:
        host.staged()
    invariants.well_told(raised.value, host)
    assert host.running() == agent.OLD


def test_a_host_frozen_past_its_deadline_goes_back_when_it_thaws(host: Host) -> None:
    order = host.switched(dead_man=timedelta(seconds=4))
    host.hang_up()
    faults.freeze(host.machine)
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(["nsenter", "-t", str(host.machine.leader), "-n", "sleep", "6"], timeout=5, check=False)
    faults.thaw(host.machine)
    goes_back_alone(host)
    with pytest.raises(HostError, match="by the guard"):
        host.change.commit(order)
    invariants.at_rest(host, agent.OLD)


def test_a_new_agent_killed_as_by_the_oom_killer_is_started_again_and_can_be_put_back(host: Host) -> None:
    order = host.switched()
    victim = host.machine.sh(f"systemctl show -P MainPID {agent.NAME}.service").strip()
    host.machine.sh(
        f"kill -KILL {victim}; until [ $(systemctl show -P NRestarts {agent.NAME}.service) -ge 1 ]; do sleep 0.05; done"
    )
    host.machine.sh(f"until grep -qv '^{victim} ' /run/{agent.NAME}.running; do sleep 0.05; done")
    invariants.hold(host)
    assert int(host.state().service["NRestarts"]) == 1, "the check of a stable service sees it"
    back(host, order)


def other_release(host: Host, **how: str) -> None:
    """The next run delivers another build of the new version."""
    host.archive = agent.archive(agent.agent(agent.NEW, **how))


@pytest.mark.parametrize(
    "how",
    [
        {"pre": "sleep 1000"},
        {"pre": "kill -KILL $$"},
        {"pre": "exit 1"},
        {"start": "kill -KILL $$"},
        {"start": "head -c 20000000 /dev/urandom; exit 3"},
        {"pre": "! nc -z 127.0.0.1 7201"},
    ],
    ids=[
        "activating for ever",
        "killed at start",
        "does not start",
        "crashes on and on",
        "binary output",
        "port is taken",
    ],
)
def test_a_version_that_does_not_come_up_is_put_back_by_the_run_or_by_the_guard(
    host: Host, how: dict[str, str]
) -> None:
    other_release(host, **how)
    with listener(host, 7201):
        for by_guard in (False, True):
            order = host.staged(dead_man=SOON if by_guard else LATE)
            with suppress(CommandFailed):  # one that crashes later is seen by the checks after the switch
                host.change.switch(order)
            if by_guard:
                goes_back_alone(host)
                invariants.at_rest(host, agent.OLD)
            back(host, order)


@contextmanager
def listener(host: Host, port: int) -> Iterator[None]:
    """What was left of an old agent holds a port."""
    host.machine.sh(
        f"systemd-run -q --unit holder nc -lk 127.0.0.1 {port}; until ss -ltn | grep -q :{port}; do sleep 0.05; done"
    )
    yield
    host.machine.sh("systemctl stop holder")


def test_while_the_unit_is_masked_the_host_is_flagged_and_unmasked_it_comes_back(host: Host) -> None:
    unit = f"/etc/systemd/system/{agent.NAME}.service"
    order = host.staged()
    host.machine.sh(f"cp {unit} /root/unit; rm {unit}; systemctl mask {agent.NAME}.service")
    for step in (lambda: host.change.switch(order), lambda: host.change.roll_back(order, "back", with_state=False)):
        with pytest.raises(CommandFailed, match=f"{host.name}: the service did not start.*masked"):
            step()
    state = host.state()
    assert (state.journal.state, host.installed()) == (JournalState.ROLLING_BACK, agent.OLD), "flagged"
    host.machine.sh(f"systemctl unmask {agent.NAME}.service; cp /root/unit {unit}; systemctl daemon-reload")
    back(host, order)


def test_a_unit_that_hit_its_start_limit_is_switched_and_put_back_all_the_same(host: Host) -> None:
    host.machine.sh(f"for n in 1 2 3 4 5 6 7; do systemctl restart {agent.NAME}.service || true; done")
    host.machine.sh(f"[ $(systemctl is-active {agent.NAME}.service) = failed ]")
    order = host.committed()
    invariants.at_rest(host, agent.NEW)
    host.locked(order)
    back(host, order)


def test_a_binary_changed_by_hand_before_the_switch_stops_it_and_the_change_by_hand_stays(host: Host) -> None:
    order = host.staged()
    host.machine.sh(f"echo '# by hand' >>{agent.BINARY}")
    with pytest.raises(HostError, match="changed by hand since it was backed up.*do: ") as raised:
        host.change.switch(order)
    invariants.well_told(raised.value, host)
    assert "# by hand" in host.machine.sh(f"cat {agent.BINARY}")
    assert host.running() == agent.OLD
    assert host.state().guard is None


def test_a_binary_changed_by_hand_after_the_switch_is_not_committed_and_is_put_back(host: Host) -> None:
    order = host.switched()
    host.machine.sh(f"echo '# by hand' >>$(readlink -f {agent.BINARY})")
    with pytest.raises(HostError, match="is not the new version any more"):
        host.change.commit(order)
    back(host, order)


def test_a_previous_release_that_somebody_removed_is_taken_from_the_backup(host: Host) -> None:
    order = host.committed()
    host.machine.sh(f"rm -rf {agent.RELEASES}/{agent.OLD}-*")
    back(host, order)


def test_hostile_file_names_come_back_exactly_as_they_were(host: Host) -> None:
    tree = (
        f"cd /etc/{agent.NAME} && find . -printf '%p\\0%y\\0%m\\0%U\\0%l\\0' | sort -z | sha256sum;"
        " find . -type f -print0 | sort -z | xargs -0 cat | sha256sum"
    )
    names = [
        "-rf",
        "a b",
        "*",
        "$(reboot)",
        "`reboot`",
        "'",
        '"',
        "new\nline",
        "\\n",
        "\xff".encode().decode(),
        ";reboot;",
        "%s",
    ]
    host.machine.sh(
        f"cd /etc/{agent.NAME}; printf latin >\"$(printf 'gr\\374n')\"; ln -s agent.conf link; ln -s . loop; mkfifo pipe"
    )
    for name in names:
        host.machine.sh(
            f'cd /etc/{agent.NAME}; read_name=$(cat; echo x); cat /proc/sys/kernel/random/uuid >./"${{read_name%x}}"',
            stdin=name.encode(),
        )
    host.machine.sh("sync")
    before = host.machine.sh(tree)
    order = host.switched()
    host.machine.sh(
        f'cd /etc/{agent.NAME}; for f in ./*; do [ ! -f "$f" ] || [ -h "$f" ] || [ "$f" = ./agent.conf ] || echo changed >"$f"; done; rm -f link ./-rf'
    )
    host.change.roll_back(order, "back", with_state=False)
    assert host.machine.sh(tree) == before
    invariants.at_rest(host, agent.OLD)


def test_a_noisy_login_does_not_disturb_any_step(host: Host) -> None:
    noise = "head -c 100000 /dev/urandom; echo result=failed; echo end=ok; echo 'We trust you have received the usual lecture' >&2\n"
    host.machine.sh("cat >/home/ops/.bashrc; cp /home/ops/.bashrc /root/.bashrc", stdin=noise.encode())
    try:
        order = host.committed()
        invariants.at_rest(host, agent.NEW)
        back(host, order)
    finally:
        host.machine.sh("rm -f /home/ops/.bashrc /root/.bashrc")


def clock(host: Host, seconds: int) -> None:
    """All that Upkeep's scripts ask for the time is `date`; the kernel's clock is one for all machines of this computer."""
    text = f'#!/bin/sh\n[ "$*" != +%s ] || exec echo $(($(/usr/bin/date +%s) + {seconds}))\nexec /usr/bin/date "$@"\n'
    host.machine.sh("cat >/usr/local/sbin/date; chmod 755 /usr/local/sbin/date", stdin=text.encode())


@pytest.mark.parametrize("days", [-1, 1])
def test_with_a_clock_a_day_off_or_stepping_the_guard_still_acts_in_its_time_and_not_before(
    host: Host, days: int
) -> None:
    try:
        clock(host, days * 86400)
        back(host, host.committed())
        order = host.switched(dead_man=timedelta(seconds=20))
        clock(host, 0)
        assert invariants.hold(host).journal.state is JournalState.SWITCHED, "a step of the clock is no reason to act"
        host.change.commit(order)
        back(host, order)
        host.switched(dead_man=SOON)
        clock(host, days * 86400)
        goes_back_alone(host)
        invariants.at_rest(host, agent.OLD)
    finally:
        host.machine.sh("rm -f /usr/local/sbin/date")


def test_a_clock_that_steps_a_day_ahead_may_end_a_lease_but_never_lets_two_runs_write(host: Host) -> None:
    first = host.staged()
    try:
        clock(host, 86400)
        second = host.order()
        second = replace(second, fence=host.change.take_lock(second))
        with pytest.raises(HostLocked, match=second.run):
            host.change.switch(first)
        back(host, second)
    finally:
        host.machine.sh("rm -f /usr/local/sbin/date")


def test_over_a_slow_lossy_link_a_change_is_made_and_undone(host: Host) -> None:
    layout = host.machine.layout
    shaping = ["tc", "-n", layout.control, "qdisc", "add", "dev", bridge_port(host.machine.number), "root", "netem"]
    try:
        tried = subprocess.run(
            [*shaping, "delay", "80ms", "20ms", "loss", "2%", "rate", "2mbit"],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("tc is not installed")
    if tried.returncode:
        pytest.skip(f"this kernel has no netem: {tried.stderr.strip()}")
    host.hang_up()
    try:
        order = host.committed()
        invariants.at_rest(host, agent.NEW)
        back(host, order)
    finally:
        subprocess.run(
            ["tc", "-n", layout.control, "qdisc", "del", "dev", bridge_port(host.machine.number), "root"], check=True
        )


def test_where_large_packets_vanish_a_step_ends_at_its_limit_and_nothing_has_changed(host: Host) -> None:
    order = host.staged()
    layout, table = host.machine.layout, f"table bridge {bridge_port(host.machine.number)}"
    rule = f"ip daddr {host.machine.address} meta length > 600 drop"
    chains = "".join(
        f"chain {hook} {{ type filter hook {hook} priority 0; {rule}; }}\n" for hook in ("forward", "output")
    )
    transport = SshTransport(host.target)
    limits = Limits(total=timedelta(seconds=5), idle=timedelta(seconds=5))
    try:
        transport.run("true", limits=limits)
        subprocess.run(
            ["nsenter", f"--net={namespace_path(layout.control)}", "nft", "-f", "-"],
            input=f"{table} {{\n{chains}}}\n",
            text=True,
            check=True,
        )
        with pytest.raises(CommandTimeout, match=f"{host.name}: .*5 s"):
            transport.run("touch /run/never\n" + "# padding\n" * 20_000, become=True, limits=limits)
    finally:
        transport.close()
        faults.heal(host.machine)
    assert host.machine.sh("[ ! -e /run/never ] && echo untouched") == "untouched\n", (
        "a script that arrived in part is not run"
    )
    host.hang_up()
    after_switch(host, order, 0)


def test_releases_on_another_file_system_are_switched_to_and_back_from(host: Host) -> None:
    host.machine.sh(f"mkdir -p {agent.RELEASES}; mount -t tmpfs releases {agent.RELEASES}")
    try:
        order = host.committed()
        invariants.at_rest(host, agent.NEW)
        back(host, order)
    finally:
        host.machine.sh(f"umount -l {agent.RELEASES}")


def test_a_random_chain_of_faults_always_ends_well(hosts: list[Host]) -> None:
    """Three faults in a row at random points; the seed is told, and UPKEEP_SEED gives it."""
    seed = int(os.environ.get("UPKEEP_SEED") or random.SystemRandom().randrange(2**32))
    chance = random.Random(seed)
    for host in hosts:
        order, story = anew(host).staged(), []
        for _ in range(3):
            link = chance.randrange(2, 56), chance.choice([switch, roll_back]), chance.choice([power, kill, survive])
            story.append(link)
            order = host.locked(order)
            try:
                one_fault(host, order, *link)
            except Exception as error:
                raise AssertionError(f"{host.name}, seed {seed}: {story}") from error
        back(host, order)


def one_fault(host: Host, order: Order, number: int, step, strike) -> None:
    host.trap.spring(number, lambda: step(host, order), lambda _: strike(host))
    host.after_power_cut()
    if strike is kill and host.state().journal.state is JournalState.ROLLING_BACK:
        # Killed between stop and start: nothing runs until somebody repeats it, or the guard does, if the switch came so far as to arm it.
        roll_back(host, host.locked(order))
    invariants.hold(host)


def switch(host: Host, order: Order) -> None:
    host.change.switch(order)


def roll_back(host: Host, order: Order) -> None:
    host.change.roll_back(order, "chance", with_state=False)


def power(host: Host) -> None:
    host.machine.cut_power()


def kill(host: Host) -> None:
    host.hang_up()
    host.trap.kill()


def survive(host: Host) -> None:
    host.hang_up()
    host.trap.let_go()
    host.trap.await_end()
