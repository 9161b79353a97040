"""What a host says instead of `result=ok`, as the error it means."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from upkeep.errors import (
    ArtifactError,
    BackupError,
    ChecksumMismatch,
    CommandFailed,
    CommandTimeout,
    GarbledOutput,
    HostError,
    HostLocked,
    Refused,
    UntrustedRelease,
    UpkeepError,
)
from upkeep.hosts.host_state import Answer


def objection(answer: Answer) -> UpkeepError:
    """The error behind an answer whose result is not ok."""
    result = answer.get("result")
    if result in _KINDS:
        return _KINDS[result](answer)
    return GarbledOutput(answer.host, f"the host answers with a result that is not known: '{result}'")


def _locked(answer: Answer) -> UpkeepError:
    return HostLocked(
        answer.host,
        f"the host belongs to another run: {answer.lock()}",
        remedy="wait for that run or stop it, then run again",
    )


def _lock_lost(answer: Answer) -> UpkeepError:
    return HostError(
        answer.host,
        answer.get("message"),
        remedy="the dead-man switch may have put the host back: look, then run again",
    )


def _busy(answer: Answer) -> UpkeepError:
    return CommandTimeout(answer.host, answer.get("message"), remedy="run again when it has ended")


def _unfinished(answer: Answer) -> UpkeepError:
    journal = answer.journal()
    return Refused(
        f"{answer.host}: the change of run {journal.run} is still '{journal.state}'",
        remedy="roll it back first, or resume that run",
    )


def _rolled_back_already(answer: Answer) -> UpkeepError:
    journal = answer.journal()
    problem = f"the change is '{journal.state}', by the {journal.actor or 'controller'}: {journal.reason or 'nothing was begun'}"
    return HostError(answer.host, problem, remedy="find out why, then start a new run for this host")


def _refused(answer: Answer) -> UpkeepError:
    return Refused(
        f"{answer.host}: {answer.get('message')}",
        remedy="bring the host back by hand, or upgrade it to the version it should have",
    )


def _failed(problem: str, remedy: str) -> Callable[[Answer], UpkeepError]:
    def error(answer: Answer) -> UpkeepError:
        code = answer.number("exit_code") or 1
        return CommandFailed(answer.host, problem, exit_code=code, evidence=answer.get("message"), remedy=remedy)

    return error


def _drifted(answer: Answer) -> UpkeepError:
    return HostError(
        answer.host,
        answer.get("message"),
        remedy="find out who changed it; run again, and it is backed up as it is now",
    )


def _backup_failed(answer: Answer) -> UpkeepError:
    return BackupError(f"{answer.host}: the backup is not complete: {answer.get('message')}")


def _backup_damaged(answer: Answer) -> UpkeepError:
    return BackupError(
        f"{answer.host}: {answer.get('message')}; do: send the controller's copy back to the host, then roll back again"
    )


def _mismatch(answer: Answer) -> UpkeepError:
    found = answer.get("message") or f"{answer.number('size')} bytes, SHA-256 {answer.get('sha256')}"
    return ChecksumMismatch(f"{answer.host}: what arrived is not what the release names: {found}; it was removed")


def _partial(answer: Answer) -> UpkeepError:
    return ArtifactError(
        f"{answer.host}: only {answer.number('size')} bytes of the archive have arrived; do: deliver again, it goes on there"
    )


def _fetch_failed(answer: Answer) -> UpkeepError:
    return ArtifactError(
        f"{answer.host}: the download on the host failed after {answer.number('size')} bytes"
        f" (exit code {answer.number('exit_code')}): {answer.get('message')}"
    )


def _bad_archive(answer: Answer) -> UpkeepError:
    return UntrustedRelease(
        f"{answer.host}: the archive must not be unpacked",
        found=answer.get("message"),
        allowed="files, folders and links that stay inside",
    )


_KINDS: Mapping[str, Callable[[Answer], UpkeepError]] = {
    "locked": _locked,
    "lock-lost": _lock_lost,
    "busy": _busy,
    "unfinished": _unfinished,
    "not-staged": _rolled_back_already,
    "not-switched": _rolled_back_already,
    "nothing": _refused,
    "moved-on": _refused,
    "drifted": _drifted,
    "backup-failed": _backup_failed,
    "backup-damaged": _backup_damaged,
    "mismatch": _mismatch,
    "partial": _partial,
    "fetch-failed": _fetch_failed,
    "bad-archive": _bad_archive,
    "config-rejected": _failed(
        "the new version rejects the present configuration", "adapt the configuration or the release, then run again"
    ),
    "not-started": _failed("the service did not start", "look at the unit's journal on the host"),
    "guard-failed": _failed(
        "the dead-man switch could not be armed; nothing was switched", "look at systemd on the host"
    ),
    "failed": _failed(
        "a step of the change could not be done", "look for a full or read-only disk on the host, then run again"
    ),
}
