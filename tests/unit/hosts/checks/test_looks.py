"""Every look, run as it is on a host whose /proc, /etc and programs are made up: good passes, wrong is told, silence is unknown.

Issue 7: 1; U8 U12 D7 D8 D9 C1 C2.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.hosts.checks.made_up_host import CATALOGUE, GOOD, PID, PROGRAMS, World, proc, shown
from upkeep.domain.check import CONTROLLER
from upkeep.domain.finding import Verdict

LOOKED_AT = {
    check.id
    for check in CATALOGUE.values()
    if check.look not in {"", CONTROLLER} and "inspection" in check.purposes and not check.needs
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.write(GOOD)
    return made


STATUS = GOOD[f"proc/{PID}/status"]
DF = "Filesystem Type 1024-blocks Used Available Capacity Mounted on\n"
WARN, FAIL, PASS = Verdict.WARN, Verdict.FAIL, Verdict.PASS

WRONG: list[tuple[str, dict[str, str | None], Verdict, str]] = [
    ("host.cpu.busy", {"said/stat-later": "cpu  190 0 105 1005 10 0 0 0 0 0\n"}, WARN, "95 % busy, at most 75"),
    ("host.cpu.busy", {"said/stat-later": "cpu  200 0 100 1000 10 0 0 0 0 0\n"}, FAIL, "100 % busy, at most 95"),
    ("host.cpu.iowait", {"said/stat-later": "cpu  100 0 100 1040 70 0 0 0 0 0\n"}, FAIL, "60 % of the time"),
    ("host.cpu.steal", {"said/stat-later": "cpu  100 0 100 1080 10 0 0 20 0 0\n"}, WARN, "keeps back 20 %"),
    ("host.load.per_core", {"proc/loadavg": "40.0 1 1 1/200 1\n"}, FAIL, "20 tasks per core wait or run (load 40.0 on 2 cores)"),
    ("host.memory.free", {"proc/meminfo": "MemTotal: 1000000 kB\nMemAvailable: 80000 kB\n"}, WARN, "8 % of the memory is available (78 of 976 MiB), at least 10"),
    ("host.memory.free", {"proc/meminfo": "MemTotal: 1000000 kB\nMemAvailable: 20000 kB\n"}, FAIL, "at least 4"),
    ("host.swap.used", {"proc/meminfo": "MemTotal: 9 kB\nSwapTotal: 1000 kB\nSwapFree: 50 kB\n"}, FAIL, "95 % of the swap"),
    ("host.swap.used", {"proc/meminfo": "MemTotal: 9 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"}, PASS, "nothing to judge: the host has no swap"),
    ("host.files.used", {"proc/sys/fs/file-nr": "95000 0 100000\n"}, FAIL, "95000 of 100000"),
    ("host.processes.used", {"proc/loadavg": "1 1 1 1/31000 9\n"}, FAIL, "31000 of 32768"),
    ("host.uptime", {"proc/uptime": "172800000.0 1\n"}, WARN, "up for 2000 days"),
    ("host.pressure.memory", {"proc/pressure/memory": "full avg10=0 avg60=33.00 avg300=0 total=1\n"}, FAIL, "33 %"),
    ("host.pressure.io", {"proc/pressure/io": "full avg10=0 avg60=44.00 avg300=0 total=1\n"}, WARN, "44 %"),
    ("host.conntrack.used", {"proc/sys/net/netfilter/nf_conntrack_count": "950\n"}, FAIL, "950 of 1000"),
    ("host.disk.used", {"said/df-k": DF + "/dev/vda1 ext4 1000 970 30 97% /\n"}, FAIL, "/ is 97 % full (0 MiB free on /dev/vda1)"),
    ("host.disk.used", {"said/df-k": DF + "/dev/vda1 ext4 1000 900 100 90% /\n"}, WARN, "90 % full"),
    ("host.inodes.used", {"said/df-i": DF + "/dev/vda1 ext4 1000 1000 0 100% /\n"}, FAIL, "100 % of the inodes of / are taken"),
    ("host.inodes.used", {"said/df-i": DF + "/dev/vda1 btrfs 0 0 0 - /\n"}, PASS, "does not count inodes"),
    ("host.disk.writable", {"proc/mounts": "/dev/vda1 / ext4 ro,relatime 0 0\n"}, FAIL, "/ is read-only (/dev/vda1)"),
    ("host.disk.writable", {"proc/mounts": "/dev/vda1 / ext4 rw,relatime,emergency_ro 0 0\n"}, FAIL, "/ is read-only (/dev/vda1)"),
    ("host.disk.writable", {"proc/self/mountinfo": "29 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n31 29 254:0 /x /run/host/os-release ro,nosuid - ext4 /dev/vdb rw\n"}, PASS, "/ is writable (/dev/vda1)"),
    ("host.disk.writable", {"proc/self/mountinfo": "29 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 ro\n"}, FAIL, "/ is read-only (/dev/vda1)"),
    ("host.disk.writable", {"proc/mounts": "/dev/vda1 /boot ext4 ro,relatime 0 0\n", "etc/fstab": "# a\n/dev/vda1 /boot ext4 defaults,ro 0 2\n"}, PASS, "/etc/fstab wants it read-only"),
    ("host.units.failed", {"said/failed": "a.service loaded failed failed A\nb.service loaded failed failed B\n"}, WARN, "2 failed units: a.service b.service"),
    ("host.kernel.errors", {"said/kernel": "oops\n" * 21}, WARN, "21 errors of the kernel"),
    ("host.kernel.disk_errors", {"said/kernel": "blk_update_request: I/O error, dev sda\n"}, FAIL, "I/O error, dev sda"),
    ("host.system.id", {"etc/machine-id": "uninitialized\n"}, WARN, "uninitialized"),
    ("host.system.reboot", {"run/reboot-required": "", "run/reboot-required.pkgs": "linux-image\n"}, WARN, "linux-image"),
    ("agent.starts_at_boot", shown(UnitFileState="disabled"), WARN, "disabled"),
    ("agent.restarts_itself", shown(Restart="no"), WARN, "Restart=no"),
    ("agent.program", {f"proc/{PID}/exe": "-> /usr/local/bin/agent (deleted)"}, WARN, "replaced"),
    ("agent.user", proc("status", STATUS.replace("Uid:\t100\t100", "Uid:\t0\t0")), WARN, "root (user id 0)"),
    ("agent.privileges", proc("status", STATUS.replace("NoNewPrivs:\t1", "NoNewPrivs:\t0")), WARN, "NoNewPrivs 0"),
    ("agent.state", proc("status", STATUS.replace("S (sleeping)", "D (disk sleep)")), FAIL, "state D"),
    ("agent.memory", proc("status", STATUS.replace(" 50000 kB", " 7000000 kB")), FAIL, "87.5 % of the memory"),
    ("agent.handles", proc("limits", "Max open files 1 1 files\n"), FAIL, "1 of 1"),
    ("agent.threads", proc("status", STATUS.replace("Threads:\t7", "Threads:\t5000")), WARN, "5000 threads"),
    ("agent.config.secrets", {"agent/etc/agent.yaml": "password: hunter22\n"}, WARN, "agent/etc/agent.yaml"),
    ("agent.log.fatal", {"said/journal": "PANIC nil pointer\n"}, FAIL, "1 fatal lines in 24 h PANIC nil pointer"),
    ("agent.log.error", {"said/journal": "ERROR x\n"}, WARN, "1 error lines"),
    ("agent.log.error", {"said/journal": "ERROR x\n" * 501}, FAIL, "501 error lines"),
    ("agent.log.warn", {"said/journal": "WARN x\n" * 201}, WARN, "201 warnings"),
    ("agent.log.debug_share", {"said/journal": "DEBUG x\nDEBUG y\nINFO z\n"}, WARN, "66.7 % of the lines are DEBUG"),
    ("agent.log.lines", {"said/journal": "INFO x\n" * 19001}, WARN, "19001 lines"),
    ("agent.log.resets", {"said/journal": "read: connection reset by peer\n" * 6}, WARN, "6 reset connections"),
    ("agent.log.heartbeats", {"said/journal": "WARN heartbeat missed\n" * 3}, WARN, "3 lost heartbeats"),
    ("agent.log.logins", {"said/journal": "login: 401 Unauthorized\n"}, FAIL, "1 refused logins"),
    ("agent.log.resources", {"said/journal": "accept: too many open files\n"}, FAIL, "too many open files"),
    ("net.retransmitted", {"proc/net/snmp": "Tcp: OutSegs RetransSegs\nTcp: 20000 4000\n"}, FAIL, "20 % of the TCP segments"),
    ("net.retransmitted", {"proc/net/snmp": "Tcp: OutSegs RetransSegs\nTcp: 10 5\n"}, PASS, "nothing to judge: too few segments"),
    ("net.ports.used", {"proc/net/sockstat": "TCP: inuse 27000 orphan 0 tw 900 alloc 6 mem 1\n"}, FAIL, "27000 in use, 900 waiting"),
    ("net.orphans", {"proc/net/sockstat": "TCP: inuse 5 orphan 2000 tw 3 alloc 6 mem 1\n"}, WARN, "2000 connections"),
    ("net.centre.asking", {"proc/net/tcp": "sl local rem st\n" + "0: 0100007F:1C20 0200000A:20FB 02 0:0\n" * 4}, FAIL, "4 connections to the control centre wait"),
    ("net.centre.left", {"proc/net/tcp": "sl local rem st\n" + "0: 0100007F:1C20 0200000A:20FB 08 0:0\n" * 11}, WARN, "closed by the other side"),
    ("net.route", {"proc/net/route": "Iface Destination Gateway\neth0 0000000A 0\n"}, WARN, "missing"),
    ("net.resolvers", {"etc/resolv.conf": "# none\n"}, WARN, "0 name servers"),
]  # fmt: skip


def test_a_good_host_passes_every_check(world: World) -> None:
    findings = world.asked(*LOOKED_AT)
    assert [(f.verdict, f.reason) for f in findings if f.verdict is not PASS] == []
    assert {f.check for f in findings} == LOOKED_AT


@pytest.mark.parametrize(
    ("check", "changes", "verdict", "said"), WRONG, ids=[f"{row[0]}-{row[2]}-{n}" for n, row in enumerate(WRONG)]
)
def test_a_host_that_is_wrong_in_one_way_is_told_so_with_the_reason(
    world: World, check: str, changes: dict[str, str | None], verdict: Verdict, said: str
) -> None:
    world.write(changes)
    finding = next(f for f in world.asked(check))
    assert finding.verdict is verdict, finding
    assert said in finding.reason
    assert (finding.remedy != "") is (verdict is not PASS)


SILENT: dict[str, str | None] = dict.fromkeys(GOOD)


NEVER_SILENT = {
    *("host.system.reboot", "host.system.timezone", "host.system.tmp", "net.resolvers"),
    *("host.clock.synchronised", "agent.secret.mode", "agent.releases.kept", "agent.certificate.days"),
    *(check.id for check in CATALOGUE.values() if check.look == "setting"),
}
"""What they ask is whether something is there."""


def test_a_silent_host_is_unknown_check_by_check(world: World) -> None:
    world.write(SILENT)
    world.programs = dict.fromkeys(PROGRAMS, "exit 1")
    findings = world.asked(*(LOOKED_AT - NEVER_SILENT))
    assert [f for f in findings if f.verdict is not Verdict.UNKNOWN or not f.remedy] == []
    assert {f.check for f in findings} == LOOKED_AT - NEVER_SILENT


@pytest.mark.parametrize(
    ("check", "path", "mode", "said"),
    [
        ("agent.config.world_writable", "agent/etc/agent.yaml", 0o666, "1 files can be written by everybody"),
        ("agent.secret.mode", "agent/key", 0o644, "agent/key has mode 644"),
    ],
)
def test_files_that_are_too_open_fail(world: World, check: str, path: str, mode: int, said: str) -> None:
    (world.root / path).chmod(mode)
    (finding,) = world.asked(check)
    assert finding.verdict is FAIL
    assert said in finding.reason
    assert finding.remedy


def test_a_secret_that_is_not_there_and_a_config_that_is_not_there_are_unknown(world: World) -> None:
    world.write({"agent/key": None, "agent/etc/agent.yaml": None})
    (world.root / "agent/etc").rmdir()
    assert world.asked("agent.secret.mode")[0].verdict is Verdict.UNKNOWN
    assert world.asked("agent.config.content")[0].verdict is Verdict.UNKNOWN


def test_many_old_releases_are_told(world: World) -> None:
    world.write({f"agent/releases/{number}/bin": "x" for number in range(7)})
    (finding,) = world.asked("agent.releases.kept")
    assert (finding.verdict, finding.value) == (WARN, 8)


@pytest.mark.parametrize(("days", "verdict"), [(400, PASS), (20, WARN), (3, FAIL), (-2, FAIL)])
def test_certificates_are_told_by_days_left(world: World, days: int, verdict: Verdict) -> None:
    world.write({"agent/etc/ca.pem": "a certificate"})
    world.programs["openssl"] = f'echo "notAfter=$(date -u -d "{days} days 1 hour" "+%b %e %H:%M:%S %Y GMT")"'
    (finding,) = world.asked("agent.certificate.days")
    assert (finding.verdict, finding.value) == (verdict, days)


@pytest.mark.parametrize("check", ["agent.config.content", "agent.unit_file", "agent.binary"])
def test_fingerprints_change_with_what_they_stand_for(world: World, check: str) -> None:
    before = world.asked(check)[0].signatures
    assert world.asked(check)[0].signatures == before
    world.write({"agent/etc/agent.yaml": "other: 1\n", "agent/unit": "[Service]\nUser=x\n", "agent/bin": "other"})
    assert world.asked(check)[0].signatures != before


def test_the_fingerprint_of_rights_changes_with_a_mode(world: World) -> None:
    before = world.asked("agent.config.rights")[0].signatures
    (world.root / "agent/bin").chmod(0o700)
    assert world.asked("agent.config.rights")[0].signatures != before


@pytest.mark.parametrize(("programs", "verdict"), [({"chronyc": "echo 'Leap status     : Normal'"}, PASS), ({"chronyc": "echo 'Leap status     : Not synchronised'"}, WARN), ({"timedatectl": "echo no"}, WARN), ({"timedatectl": "echo yes"}, PASS)])  # fmt: skip
def test_a_clock_is_kept_right_by_whoever_is_there(world: World, programs: dict[str, str], verdict: Verdict) -> None:
    world.write({"run/systemd/timesync/synchronized": None, "run/systemd/system/x": ""})
    world.programs |= programs
    assert world.asked("host.clock.synchronised")[0].verdict is verdict
