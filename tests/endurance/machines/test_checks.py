"""Real systemd hosts made wrong in exactly one way turn exactly that check, a good host passes all (issue 7: 1, proof). Cases: planted_checks.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from queue import SimpleQueue

import pytest
import yaml

from tests.endurance.machines.site import HERE, SHARED, Host, Planted
from upkeep.documents import load_catalogue
from upkeep.domain.finding import Finding, Verdict

pytestmark = [pytest.mark.machines, pytest.mark.timeout(3600), pytest.mark.xdist_group("machines")]

DATA = yaml.safe_load((HERE / "planted_checks.yaml").read_text("utf-8"))
COMPARED = {"grew", "differs"}


@dataclass(frozen=True)
class Wrong:
    """One case of the data file; see there."""

    check: str
    verdict: str
    says: str = ""
    subject: str = ""
    either: str = ""
    logs: str = ""
    times: int = 1
    variables: dict[str, str] = field(default_factory=dict)
    fault: Planted = field(default_factory=lambda: Planted(""))

    @property
    def id(self) -> str:
        return f"{self.check}-{self.verdict}-{self.says}".rstrip("-").replace(" ", "-").replace("/", "")


def wrong(data: dict) -> Wrong:
    planting = {"plant", "back", "bridge", "outside", "centre"}
    case = Wrong(**{name: value for name, value in data.items() if name not in planting})
    fault = Planted("", online=True, **{name: value for name, value in data.items() if name in planting})
    if case.logs:
        fault = replace(fault, plant=_LOGS.format(text=case.logs, times=case.times))
    return replace(case, says=str(case.says), fault=fault)


_LOGS = """
cat >/run/lines.sh <<'L'
awk 'BEGIN {{ for (n = 0; n < {times}; n++) print "{text}" }}'
L
mkdir -p $DROP_INS
printf '[Service]\\nLogRateLimitIntervalSec=0\\nExecStartPost=/bin/sh /run/lines.sh\\n' >$DROP_INS/x.conf
systemctl daemon-reload
systemctl restart $UNIT
for _ in 1 2 3 4 5 6 7 8 9 10; do
    journalctl --sync || sleep 1
    there=$(journalctl -q -u $UNIT -o cat --no-pager | grep -cxF '{text}') || true
    [ "$there" -lt {times} ] || exit 0
    sleep 1
done
echo "$there of {times} lines are in the journal: $(journalctl --disk-usage); $(df -h / | tail -n 1)" >&2
journalctl -q -u systemd-journald -o cat --no-pager | tail -n 5 >&2
exit 1
"""

CASES = [wrong(data) for data in DATA["cases"]]


@dataclass(frozen=True)
class Told:
    before: Sequence[Finding]
    after: Sequence[Finding]


@pytest.fixture(scope="module")
def told(request: pytest.FixtureRequest, hosts: list[Host]) -> dict[str, Future[Told]]:
    """All cases of this test run, as many side by side as there are hosts."""
    cases = [item.callspec.params.get("case") for item in request.session.items if hasattr(item, "callspec")]
    free: SimpleQueue[Host] = SimpleQueue()
    for host in hosts:
        free.put(host)
    pool = ThreadPoolExecutor(len(hosts))
    return {case.id: pool.submit(_tried, case, free) for case in cases if isinstance(case, Wrong)}


def _tried(case: Wrong, free: SimpleQueue[Host]) -> Told:
    host = free.get()
    try:
        before = host.asked(case.variables, "inspection") if case.verdict in COMPARED else ()
        try:
            host.plant(case.fault)
            return Told(before, host.asked(case.variables, "inspection"))
        finally:
            host.heal(case.fault)
    finally:
        free.put(host)


def of(case: Wrong, findings: Sequence[Finding]) -> list[Finding]:
    return [f for f in findings if f.check == case.check and case.subject in {"", f.subject}]


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_a_host_that_is_wrong_in_one_way_is_told_with_the_reason(case: Wrong, told: dict[str, Future[Told]]) -> None:
    answer = told[case.id].result()
    found = of(case, answer.after)
    if case.verdict == "grew":
        assert found[0].value > of(case, answer.before)[0].value, found
        return
    if case.verdict == "differs":
        before, after = ({(f.subject, f.value, f.signatures) for f in of(case, told)} for told in (answer.before, answer.after))  # fmt: skip
        assert before != after, found
        assert all(f.verdict is not Verdict.UNKNOWN for f in found), found
        return
    matching = [f for f in found if f.verdict.value in {case.verdict, case.either} and case.says in f.reason]
    assert matching, found
    assert all(f.remedy for f in matching), found


def test_good_hosts_pass_every_check_at_a_hundred_looks(hosts: list[Host]) -> None:
    def looks(host: Host) -> list[Finding]:
        asked = {"replication": "echo 0", "queue": "echo $TOKEN"}
        found = [finding for _ in range(100 // len(hosts)) for finding in host.asked(asked, "inspection")]
        assert len({f.check for f in found}) > 80
        return found

    with ThreadPoolExecutor(len(hosts)) as pool:
        found = [finding for several in pool.map(looks, hosts) for finding in several]
    bad = {f.key: f.reason for f in found if f.verdict is not Verdict.PASS and f.check not in SHARED}
    assert bad == {}


def test_every_check_of_an_inspection_is_made_wrong_on_a_real_host_or_it_is_said_why_not() -> None:
    asked = {check.id for check in load_catalogue().checks if "inspection" in check.purposes}
    planted = {check.id for check in load_catalogue().checks if any(check.matches(case.check) for case in CASES)}
    assert planted & set(DATA["elsewhere"]) == set()
    assert asked - planted == set(DATA["elsewhere"]) & asked
    assert set(DATA["elsewhere"]) <= asked
    assert all(DATA["elsewhere"].values())
