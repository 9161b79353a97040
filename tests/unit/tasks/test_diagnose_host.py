"""Planted causes on a made-up host: the real looks run, and the cause that was planted comes first (issue 7: 3; C2 C6).

Cases are data: what is changed on the host, what its programs answer, and which cause has to be named.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.diagnose_host import _not_reached, body_of, result_of, words
from tests.unit.hosts.checks.made_up_host import GOOD, PID, PROGRAMS, World, proc
from upkeep.documents import load_catalogue
from upkeep.documents.causes import load_causes
from upkeep.domain.change import HostOutcome
from upkeep.domain.diagnosis import LAYERS, Diagnosis, diagnose
from upkeep.domain.finding import Finding, Verdict
from upkeep.errors import HostError, HostKeyRejected, LoginRefused, Unreachable
from upkeep.hosts.inspection import inspect_host

CENTRE = "centre.example"
DF = "Filesystem Type 1024-blocks Used Available Capacity Mounted on\n"
ACTIVE = "LoadState=loaded\nActiveState=active\nSubState=running\nResult=success\nNeedDaemonReload=no\n"
PROGRAMS_OF_A_GOOD_WAY = {
    **PROGRAMS,
    "systemctl": 'case $1 in show) cat "$SAID/show" "$SAID/state" ;; list-units) cat "$SAID/failed" ;; *) exit 1 ;; esac',
    "getent": f'[ "$2" = {CENTRE} ] && echo "10.0.0.2 STREAM {CENTRE}"',
    "ip": 'echo "10.0.0.2 via 10.0.0.1 dev eth0 src 10.0.0.9"',
    "bash": "exit 0",
    "ping": "exit 0",
    "nft": "echo 'table inet filter { chain input { type filter hook input priority 0; policy drop; } }'",
    "curl": 'case "$*" in *" -x "*) printf 200 ;; *) printf "HTTP/1.1 200 OK\\r\\nDate: %s\\r\\n" "$(date -u "+%a, %d %b %Y %H:%M:%S GMT")" ;; esac',
    "openssl": 'cat "$SAID/chain"',
}
FILES: dict[str, str | None] = {
    **GOOD,
    "agent/etc/agent.yaml": f"server: https://{CENTRE}:8443\n",
    "sys/class/net/eth0/mtu": "1500\n",
    "said/state": ACTIVE,
    f"proc/{PID}/environ": "PATH=/bin\0",
}


@dataclass(frozen=True)
class Case:
    """One planted cause."""

    cause: str
    files: dict[str, str | None] = field(default_factory=dict)
    programs: dict[str, str] = field(default_factory=dict)
    chain: str = "good"
    also: str = ""
    online: bool = False


def state(**changes: str) -> dict[str, str | None]:
    lines = dict(line.split("=", 1) for line in ACTIVE.splitlines())
    return {"said/state": "".join(f"{k}={v}\n" for k, v in {**lines, **changes}.items())}


def log(line: str, times: int = 3) -> dict[str, str | None]:
    return {"said/journal": f"WARN control centre: {line}\n" * times}


SILENT = {"bash": "exit 124"}
PROXY: dict[str, str | None] = {f"proc/{PID}/environ": "https_proxy=http://proxy:3128\0"}
STATUS = GOOD[f"proc/{PID}/status"]
CASES = [
    Case("masked", state(LoadState="masked", ActiveState="inactive", SubState="dead")),
    Case("not-installed", state(LoadState="not-found", ActiveState="inactive", SubState="dead")),
    Case("stopped", state(ActiveState="inactive", SubState="dead")),
    Case("crash-loop", state(ActiveState="failed", SubState="failed", Result="start-limit-hit")),
    Case("crash-loop", state(ActiveState="activating", SubState="auto-restart", Result="exit-code")),
    Case("crash-loop", state(ActiveState="failed", SubState="failed", Result="core-dump")),
    Case("crash-loop", state(ActiveState="failed", SubState="failed", Result="signal")),
    Case("out-of-memory", state(ActiveState="activating", SubState="auto-restart", Result="oom-kill")),
    Case("bad-configuration", {**state(ActiveState="activating", SubState="auto-restart", Result="exit-code"), **log("agent.yaml:3: 'sever' is not a key")}),
    Case("hanging", proc("status", STATUS.replace("S (sleeping)", "T (stopped)"))),
    Case("disk-full", {"said/df-k": DF + "/dev/vda1 ext4 1000 1000 0 100% /\n", **log("No space left on device")}),
    Case("inodes-full", {"said/df-i": DF + "/dev/vda1 ext4 1000 1000 0 100% /\n"}),
    Case("disk-read-only", {"proc/mounts": "/dev/vda1 / ext4 ro,relatime 0 0\n"}),
    Case("disk-read-only", {"proc/mounts": "/dev/vda1 / ext4 rw,relatime,emergency_ro 0 0\n"}),
    Case("out-of-handles", {**proc("limits", "Max open files 1 1 files\n"), **log("accept: Too many open files")}),
    Case("out-of-memory", {"proc/meminfo": "MemTotal: 1000000 kB\nMemAvailable: 20000 kB\n", **log("cannot allocate memory")}),
    Case("out-of-ports", {"proc/net/sockstat": "TCP: inuse 27900 orphan 0 tw 200 alloc 6 mem 1\n"}),
    Case("overloaded", {"proc/loadavg": "90 80 70 99/300 1\n", "said/stat-later": "cpu  200 0 100 1000 10 0 0 0 0 0\ncpu0 1\ncpu1 1\n"}),
    Case("permission", log("open /var/lib/mcp/state: permission denied")),
    Case("dns", log("[Errno -2] Name or service not known"), {"getent": "exit 2"}),
    Case("no-route", log("[Errno 113] No route to host"), {"ip": "echo 'RTNETLINK answers: Network is unreachable' >&2; exit 2", "bash": "echo 'connect: Network is unreachable' >&2; exit 1"}),
    Case("firewall", log("timed out"), SILENT),
    Case("firewall", log("[Errno 113] No route to host"), {"bash": "echo 'connect: No route to host' >&2; exit 1"}),
    Case("local-firewall", log("timed out"), {**SILENT, "nft": "echo 'chain output { type filter hook output priority 0; policy accept;'; echo '  tcp dport 8443 drop'; echo '}'"}),
    Case("centre-down", log("[Errno 111] Connection refused"), {"bash": "echo 'connect: Connection refused' >&2; exit 1"}),
    Case("wrong-address", {"agent/etc/agent.yaml": "server: https://old.example:8443\n", **log("[Errno 111] Connection refused")}),
    Case("proxy-login", PROXY, {"curl": "case \"$*\" in *' -x '*) printf 407; exit 56 ;; *) printf 'HTTP/1.1 200 OK\\r\\n' ;; esac"}),
    Case("proxy", PROXY, {"curl": "case \"$*\" in *' -x '*) printf 000; exit 7 ;; *) printf 'HTTP/1.1 200 OK\\r\\n' ;; esac"}),
    Case("mtu", log("timed out"), {"ping": 'for word; do case $before in -s) [ "$word" -le 1372 ] || exit 1 ;; esac; before=$word; done', "curl": "exit 28"}),
    Case("clock", log("certificate has expired"), {"curl": "printf 'HTTP/1.1 200 OK\\r\\nDate: Mon, 01 Jan 2024 00:00:00 GMT\\r\\n'"}),
    Case("certificate-expired", log("certificate has expired"), chain="expired"),
    Case("certificate-name", log("Hostname mismatch, certificate is not valid for 'centre.example'"), chain="misnamed"),
    Case("chain-order", log("certificate verify failed: unable to get local issuer certificate"), chain="unordered"),
    Case("chain-incomplete", log("certificate verify failed: unable to get local issuer certificate"), chain="incomplete"),
    Case("agent-trust", log("certificate verify failed: unable to get local issuer certificate")),
    Case("login", log("/v1/nodes/h1/heartbeat answered 401: expired token")),
    Case("centre-error", log("/v1/nodes/h1/heartbeat answered 503"), {"curl": "printf 'HTTP/1.1 503 Service Unavailable\\r\\n'"}),
    Case("version", log("answered 426: protocol version 3 is not supported")),
    Case("session-timeout", log("connection reset by peer")),
    Case("not-registered"),
    Case("dns", {**log("Name or service not known"), "said/df-k": DF + "/dev/vda1 ext4 1000 1000 0 100% /\n"}, {"getent": "exit 2"}, also="disk-full"),
]  # fmt: skip


@pytest.fixture(scope="module")
def chains(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What `openssl s_client -showcerts` shows of a control centre, good and not so good, and the CA file."""
    return make_chains(tmp_path_factory.mktemp("ca"))


def make_chains(folder: Path) -> dict[str, str]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    now = datetime.now(UTC)

    def issue(
        name: str,
        issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None,
        *,
        days: int = 300,
        ca: bool = True,
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer[0].subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=400))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        certificate = made.sign(issuer[1] if issuer else key, hashes.SHA256())
        return certificate, key

    def pem(*certificates: x509.Certificate) -> str:
        return "".join(c.public_bytes(serialization.Encoding.PEM).decode() for c in certificates)

    root = issue("root", None)
    middle = issue("middle", root)
    leaf, old, other = (
        issue(n, middle, days=d, ca=False)[0] for n, d in ((CENTRE, 300), (CENTRE, -2), ("other.example", 300))
    )
    (folder / "root.pem").write_text(pem(root[0]))
    return {
        "good": pem(leaf, middle[0]),
        "expired": pem(old, middle[0]),
        "misnamed": pem(other, middle[0]),
        "unordered": pem(leaf, root[0], middle[0]),
        "incomplete": pem(leaf),
        "ca": str(folder / "root.pem"),
    }


def node(*, online: bool) -> list[Finding]:
    verdict = Verdict.PASS if online else Verdict.FAIL
    seen = Finding(check="centre.seen", verdict=Verdict.PASS, reason="the control centre answers the controller")
    return [seen, Finding(check="centre.registered", verdict=verdict, reason="h1 is offline")]


def diagnosed(case: Case, folder: Path, chains: dict[str, str]) -> Diagnosis:
    world = World(folder, {**PROGRAMS_OF_A_GOOD_WAY, **case.programs})
    world.write({**FILES, **case.files, "said/chain": chains[case.chain]})
    profile = world.profile(
        f"https://{CENTRE}:8443", control_centre={"url": f"https://{CENTRE}:8443", "ca": chains["ca"]}
    )
    now = datetime.now(UTC)
    seen = inspect_host(world.transport(), profile, load_catalogue(), {}, now=now, purpose="diagnosis")
    return diagnose(load_causes(), [*seen.findings, *node(online=case.online)])


QUICK = [
    case for case in CASES if case.cause in {"dns", "stopped", "firewall", "mtu", "chain-incomplete", "session-timeout"}
]
"""Here; all of them in tests/endurance/test_diagnosis.py, because each asks a made-up host everything."""


def judge_case(case: Case, folder: Path, chains: dict[str, str]) -> None:
    """The planted cause comes first; of two at once, both before any other."""
    found = diagnosed(case, folder, chains)
    ranked = [one.cause.id for one in found.suspicions]
    if case.also:
        assert set(ranked[:2]) == {case.cause, case.also}, words("h1", found)
        return
    assert ranked[:1] == [case.cause], words("h1", found)
    likely = found.suspicions[0]
    assert likely.evidence
    assert likely.confidence > 0.5
    assert likely.cause.remedy in words("h1", found)
    result = result_of(found)
    assert result.outcome is HostOutcome.FAILED
    assert case.cause in result.reason
    assert body_of(found)["causes"][0]["id"] == case.cause  # type: ignore[index]


@pytest.mark.parametrize("case", QUICK, ids=[f"{case.cause}{'+' + case.also if case.also else ''}" for case in QUICK])
def test_the_planted_cause_comes_first_with_its_evidence(case: Case, tmp_path: Path, chains: dict[str, str]) -> None:
    judge_case(case, tmp_path, chains)


def test_a_healthy_host_has_no_cause_and_every_layer_that_was_asked_passes(
    tmp_path: Path, chains: dict[str, str]
) -> None:
    found = diagnosed(Case("", online=True), tmp_path, chains)
    assert found.suspicions == (), words("h1", found)
    assert result_of(found).outcome is HostOutcome.PASSED
    asked = {state.layer.value: state.verdict for state in found.layers if state.findings}
    assert set(asked.values()) == {Verdict.PASS}, asked


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (Unreachable("h1", "no TCP connection within 10 s"), "host-unreachable"),
        (Unreachable("h1", "no TCP connection to ssh://h1 within 10 s", evidence="Connection refused"), "ssh-refused"),
        (LoginRefused("h1", "no key was accepted"), "ssh-login"),
        (HostKeyRejected("h1", "it shows another key"), "host-key"),
    ],
)
def test_a_host_that_cannot_be_asked_is_told_by_how_it_was_not_reached(error: HostError, cause: str) -> None:
    found = diagnose(load_causes(), [_not_reached(error), *node(online=False)])
    assert found.likely is not None
    assert found.likely.cause.id == cause, words("h1", found)


def test_every_layer_of_the_requirement_has_a_cause_and_every_cause_a_planted_case_or_an_error() -> None:
    known = {cause.id for cause in load_causes().causes}
    planted = {case.cause for case in CASES} | {"host-unreachable", "ssh-refused", "ssh-login", "host-key"}
    assert {cause.layer for cause in load_causes().causes} == set(LAYERS)
    assert planted <= known
    assert sorted(known - planted) == ["agent-certificate"], "causes that nothing proves yet"


def test_signs_name_checks_that_there_are() -> None:
    checks = {check.id for check in load_catalogue().checks} | {"net.tls.x", "net.http.health"}
    patterns = {sign.check for cause in load_causes().causes for sign in (*cause.signs, *cause.against)}
    assert [p for p in patterns if not any(re.fullmatch(p, check) for check in checks)] == []


def test_a_busy_host_hides_no_cause_that_load_does_not_explain() -> None:
    untrusted = Finding(check="recent.untrusted", verdict=Verdict.WARN, reason="6 lines", remedy="x")
    busy = Finding(check="host.cpu.busy", verdict=Verdict.FAIL, reason="98 % busy", remedy="x")
    full = Finding(check="host.disk.used", verdict=Verdict.FAIL, reason="/ is full", remedy="x")
    quiet, loaded = (diagnose(load_causes(), findings).suspicions[0] for findings in ([untrusted], [untrusted, busy]))
    assert (loaded.cause.id, loaded.confidence, loaded.against) == ("agent-trust", quiet.confidence, ())
    broken = next(one for one in diagnose(load_causes(), [untrusted, full]).suspicions if one.cause.id == "agent-trust")
    assert broken.confidence < quiet.confidence


@pytest.mark.parametrize("why", ["no answer", "Error reading SSH protocol banner"])
def test_a_host_that_takes_connections_and_stands_still_is_not_taken_for_an_agent_that_is_unknown(why: str) -> None:
    reason = f"ssh://h3:22 accepted the connection and sent no SSH banner within 10 s ({why})"
    still = Finding(check="reach.ssh", verdict=Verdict.FAIL, reason=reason, remedy="x")
    found = diagnose(load_causes(), [still, *node(online=False)])
    assert found.suspicions[0].cause.id == "host-unreachable"
