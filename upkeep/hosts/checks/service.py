"""The agent's unit: there, not masked, not given up on, its file the one that is loaded, running."""

from __future__ import annotations

from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.profile import Service
from upkeep.hosts.checks.platform import with_words
from upkeep.hosts.question import Answer, Question, unknown

PROPERTIES = [
    "LoadState",
    "ActiveState",
    "SubState",
    "NRestarts",
    "MainPID",
    "Result",
    "UnitFileState",
    "FragmentPath",
    "NeedDaemonReload",
]
SHOW = "systemctl show " + " ".join(f"-p {name}" for name in PROPERTIES) + ' "$1"'


def service(wanted: Service) -> Question:
    """All of it from one `systemctl show`."""

    def judge(answer: Answer) -> list[Finding]:
        shown = properties(answer.text)
        if answer.missing or "LoadState" not in shown:
            return [unknown("service.loaded", wanted.unit, "systemctl says nothing of it", evidence=answer.text)]
        return judge_service(wanted.unit, shown)

    return Question("service.loaded", with_words(SHOW, wanted.unit), judge, wanted.unit, plain=True, bare=True)


def judge_service(unit: str, shown: dict[str, str]) -> list[Finding]:
    """What a unit's properties mean."""
    masked = "masked" in {shown.get("LoadState"), shown.get("UnitFileState")}
    state = f"{shown.get('ActiveState')} ({shown.get('SubState')}, result {shown.get('Result')})"
    look = f"look why with journalctl -u {unit}"
    rows = (
        ("masked", not masked, f"masked is {masked}", f"find out who masked it and why, then systemctl unmask {unit}"),
        (
            "loaded",
            masked or shown.get("LoadState") == "loaded",
            f"it is {shown.get('LoadState')}",
            "repair the unit file",
        ),
        ("start_limit", shown.get("Result") != "start-limit-hit", f"last result: {shown.get('Result')}", look),
        (
            "unit_drift",
            shown.get("NeedDaemonReload") != "yes",
            "file and loaded unit compared",
            "systemctl daemon-reload",
        ),
        ("active", shown.get("ActiveState") == "active", f"it is {state}", f"{look}, start it, then `upkeep retry`"),
    )
    return [
        Finding(
            check=f"service.{name}",
            subject=unit,
            verdict=Verdict.PASS if good else Verdict.FAIL,
            reason=f"{unit}: {_TROUBLE[name]}; {found}" if not good else f"{unit}: {found}",
            remedy="" if good else remedy,
        )
        for name, good, found, remedy in rows
    ]


_TROUBLE = {
    "masked": "the unit is masked and cannot be started",
    "loaded": "the unit is not loaded",
    "start_limit": "systemd gave up starting it (start limit)",
    "unit_drift": "the unit file was edited since it was loaded",
    "active": "the unit is not active",
}


def properties(text: str) -> dict[str, str]:
    """`key=value` lines as a mapping."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
