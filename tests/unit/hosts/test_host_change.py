"""What is sent to a host and what its answers mean, without a host."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from upkeep.domain.change import JournalState
from upkeep.domain.profile import AgentProfile
from upkeep.errors import (
    ArtifactError,
    BackupError,
    BadInput,
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
from upkeep.hosts.host_change import HostChange, Order
from upkeep.hosts.host_objection import objection
from upkeep.hosts.host_script import assignments, config_check, library, one_line, prelude, profile_settings, script
from upkeep.hosts.host_state import Answer, read_answer
from upkeep.hosts.transport import Limits, Reply

NASTY = 'it\'s $HOME `id` \\ "x" *; rm -rf / #\ttab'
PATHS = {"binary": "/usr/bin/agent", "releases": "/opt/agent/", "upkeep": "/var/lib/upkeep"}


def profile(**paths: object) -> AgentProfile:
    return AgentProfile.model_validate(
        {
            "name": "agent",
            "service": {"unit": "agent.service", "start_timeout": "200s"},
            "paths": {**PATHS, **paths},
            "installer": {
                "binary_member": "./*/agent",
                "config_check": ["{{ candidate }}", "--config", NASTY, "x{{ candidate }}"],
            },
            "installed_version": {},
            "running_version": {},
        }
    )


def order(**changed: object) -> Order:
    values = {
        "run": "run-1",
        "owner": "ada",
        "reason": "why",
        "fence": 3,
        "from_version": "1.0",
        "to_version": "2.0",
        "artifact_sha256": "a" * 64,
        "artifact_size_bytes": 10,
        "lease": timedelta(minutes=30),
        "dead_man": timedelta(minutes=10),
        **changed,
    }
    return Order(**values)  # type: ignore[arg-type]


class Recorder:
    """A transport that always answers the same and remembers what it was asked."""

    host = "h1"

    def __init__(self, stdout: str) -> None:
        self.stdout = stdout
        self.scripts: list[str] = []
        self.limits: list[Limits] = []
        self.become: list[bool] = []

    def run(self, script: str, *, become=False, stdin=(), sink=None, limits=None) -> Reply:
        self.scripts.append(script)
        self.limits.append(limits)
        self.become.append(become)
        return Reply(0, self.stdout.encode(), "", 0.1)

    def close(self) -> None:
        """Nothing is open."""


OK = "result=ok\nend=ok\n"
JOURNAL = "journal.state=rolled-back\njournal.run=run-1\njournal.fence=3\njournal.actor=guard\njournal.reason=no commit within 5 s\n"


def test_settings_reach_the_shell_as_they_are() -> None:
    settings = {"A": NASTY, "B": "", "C": "two\nlines", "D": 5}
    text = script(settings, "probe").replace('eval "$LIBRARY"', 'phase_probe() { printf \'%s|\' "$A" "$B" "$C" "$D"; }')
    shown = subprocess.run(["/bin/sh", "-c", text], capture_output=True, text=True, check=True).stdout
    assert shown == f"{NASTY}||two\nlines|5|"


def test_the_library_holds_every_file_and_arrives_unchanged() -> None:
    text = script({}, "probe").replace('eval "$LIBRARY"', "phase_probe() { printf '%s' \"$LIBRARY\"; }")
    shown = subprocess.run(["/bin/sh", "-c", text], capture_output=True, text=True, check=True).stdout
    assert shown == library()
    folder = Path(__file__).parents[3] / "upkeep/hosts/scripts"
    assert all(path.read_text() in library() for path in folder.glob("*.sh"))


@pytest.mark.parametrize("shell", [["dash", "-n"], ["busybox", "ash", "-n"], ["bash", "--posix", "-n"]])
def test_every_small_shell_can_read_the_library(shell) -> None:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not installed; do: ./setup.sh machines, as root")
    read = subprocess.run(shell, input=library(), capture_output=True, text=True, check=False)
    assert (read.stderr, read.returncode) == ("", 0)


def test_the_library_is_clean_for_shellcheck() -> None:
    command = [
        str(Path(sys.executable).with_name("shellcheck")),
        "-s",
        "sh",
        "-e",
        "SC2015,SC2034,SC2153",
        "-f",
        "gcc",
        "-",
    ]
    found = subprocess.run(command, input=f"#!/bin/sh\n{library()}", capture_output=True, text=True, check=False)
    assert (found.stdout, found.returncode) == ("", 0)


def test_the_config_check_runs_the_candidate_with_every_word_as_it_is() -> None:
    command = config_check(("{{ candidate }}", "--config", NASTY, "x{{ candidate }}"))
    text = f"timeout() {{ shift 3; printf '%s\\n' \"$@\"; }}; CANDIDATE='/opt/a b/agent'; {command}"
    shown = subprocess.run(["/bin/sh", "-c", text], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines() == ["/opt/a b/agent", "--config", NASTY, "x/opt/a b/agent"]
    assert config_check(()) == ""


def test_paths_are_made_plain() -> None:
    settings = profile_settings(profile(config=["/etc/agent/", "/etc//x y"]))
    assert settings["CONFIG"] == "/etc/agent\n/etc/x y"
    assert settings["RELEASES"] == "/opt/agent"
    assert settings["MEMBER"] == "*/agent"
    assert settings["START_TIMEOUT"] == 200


@pytest.mark.parametrize("path", ["/", "//", "/x\ty", "{{ unfilled }}/etc"])
def test_a_path_that_could_mean_the_whole_disk_or_is_not_filled_is_refused(path) -> None:
    with pytest.raises(BadInput):
        profile_settings(profile(state=[path]))


def test_the_guards_path_is_one_word_for_systemd() -> None:
    settings = profile_settings(profile(upkeep='/var/a "b" 100% $x'))
    assert settings["GUARD_SCRIPT"] == '"/var/a \\"b\\" 100%% $$x/incoming/guard.sh"'


def test_texts_for_the_host_are_one_bounded_line() -> None:
    assert one_line(" a\nb\x1b[0m\x85 ") == "a b [0m"
    assert len(one_line("x" * 5000)) == 500
    assert "REASON='a b'" in assignments({"REASON": one_line("a\nb")})


def test_steps_that_restart_have_time_for_it_and_quick_ones_do_not() -> None:
    transport = Recorder(OK)
    change = HostChange(transport, profile(), become=True)
    change.switch(order())
    change.extend_lock(order())
    change.deliver(order(), [], offset=0)
    assert transport.limits[0].idle >= timedelta(seconds=400)
    assert transport.limits[1] == Limits()
    assert transport.limits[2].total == timedelta(minutes=30)
    assert transport.become == [True, True, True]


def test_a_pulls_address_and_headers_travel_in_the_script_and_not_as_words_of_a_command() -> None:
    transport = Recorder(OK)
    HostChange(transport, profile(), become=False).fetch(
        order(), "https://x/y?token=s3cret", headers={"Authorization": 'Bearer "s"'}
    )
    settings = shlex.split(transport.scripts[0].removeprefix(prelude()))[0].removeprefix("SETTINGS=")
    values = dict(word.split("=", 1) for word in shlex.split(settings))
    assert values["CURL_CONFIG"] == 'url = "https://x/y?token=s3cret"\nheader = "Authorization: Bearer \\"s\\""'
    assert values["URL"] == "https://x/y?token=s3cret"
    assert "s3cret" not in library()


@pytest.mark.parametrize(
    ("field", "value"), [("run", "../x"), ("to_version", "2.0/../.."), ("artifact_sha256", "abc"), ("run", "")]
)
def test_an_order_that_could_leave_its_folder_is_refused_before_anything_is_sent(field, value) -> None:
    transport = Recorder(OK)
    with pytest.raises(BadInput):
        HostChange(transport, profile(), become=False).switch(order(**{field: value}))
    assert not transport.scripts


def answer(result: str, lines: str = "") -> Answer:
    return read_answer("h1", Reply(0, f"{lines}result={result}\nmessage=because\nend=ok\n".encode(), "", 0.1))


LOCK = (
    "lock.run=run-2\nlock.owner=bob\nlock.reason=patching\nlock.since=1700000000\nlock.until=1700000600\nlock.fence=4\n"
)
MEANINGS: dict[str, tuple[str, type[UpkeepError], str]] = {
    "locked": (
        LOCK,
        HostLocked,
        "run run-2 of bob has held it since 2023-11-14 22:13:20 UTC until 2023-11-14 22:23:20 UTC: patching",
    ),
    "lock-lost": ("", HostError, "because"),
    "busy": ("", CommandTimeout, "because"),
    "unfinished": (JOURNAL, Refused, "change of run run-1 is still 'rolled-back'"),
    "not-staged": (JOURNAL, HostError, "by the guard: no commit within 5 s"),
    "not-switched": (JOURNAL, HostError, "by the guard: no commit within 5 s"),
    "nothing": ("", Refused, "because"),
    "moved-on": ("", Refused, "because"),
    "drifted": ("", HostError, "because"),
    "backup-failed": ("", BackupError, "because"),
    "backup-damaged": ("", BackupError, "because"),
    "mismatch": ("", ChecksumMismatch, "because"),
    "partial": ("size=7\n", ArtifactError, "only 7 bytes"),
    "fetch-failed": ("size=7\nexit_code=22\n", ArtifactError, r"after 7 bytes \(exit code 22\): because"),
    "bad-archive": ("", UntrustedRelease, "because"),
    "config-rejected": ("exit_code=3\n", CommandFailed, r"rejects .* \(exit code 3\).*because"),
    "not-started": ("", CommandFailed, "did not start.*because"),
    "guard-failed": ("", CommandFailed, "nothing was switched.*because"),
    "failed": ("", CommandFailed, "because"),
    "surprise": ("", GarbledOutput, "surprise"),
}


@pytest.mark.parametrize("result", MEANINGS)
def test_what_a_host_objects_becomes_the_error_that_names_host_and_cause(result) -> None:
    lines, kind, text = MEANINGS[result]
    error = objection(answer(result, lines))
    assert type(error) is kind
    with pytest.raises(kind, match=text):
        raise error
    assert str(error).startswith("h1: ")


def test_every_result_of_the_scripts_has_a_meaning_and_every_meaning_a_result() -> None:
    code = "\n".join(line for line in library().splitlines() if not line.lstrip().startswith("#"))
    results = set(re.findall(r"finish \"?([a-z-]+)", code)) - {"ok", "idle"}
    assert results == set(MEANINGS) - {"surprise"}


def test_an_answer_that_is_cut_or_no_answer_is_not_taken_for_one() -> None:
    for text in ("", "result=ok\n", "result=ok\nend=o", "end=ok\nresult=ok\n"):
        with pytest.raises(GarbledOutput):
            read_answer("h1", Reply(0, text.encode(), "", 0.1))
    with pytest.raises(CommandFailed, match="exit code 2.*no space"):
        read_answer("h1", Reply(2, b"", "sh: no space left", 0.1))
    with pytest.raises(GarbledOutput, match="'fence' is no number"):
        answer("ok", "fence=x\n").number("fence")
    with pytest.raises(GarbledOutput, match="journal"):
        answer("ok", "journal.state=unheard-of\n").journal()


def test_a_hosts_state_is_read_whole() -> None:
    text = (
        f"now=1700000000\nboot_id=abc\n{JOURNAL}{LOCK}binary.form=link\nbinary.link=../x\nbinary.target=/opt/x\nbinary.sha256=ff\n"
        "release=1\nrelease=2\nbackup=run-1\nservice.ActiveState=active\nguard.kind=systemd\nguard.run=run-1\nguard.deadline=5\nguard.armed=yes\n"
    )
    state = HostChange(Recorder(text + OK), profile(), become=False).inspect()
    assert (state.journal.state, state.journal.fence, state.now, state.boot_id) == (
        JournalState.ROLLED_BACK,
        3,
        1700000000,
        "abc",
    )
    assert state.lock is not None
    assert (state.lock.run, state.lock.fence) == ("run-2", 4)
    assert (state.binary.form, state.binary.target, state.releases, state.backups) == (
        "link",
        "/opt/x",
        ("1", "2"),
        ("run-1",),
    )
    assert state.guard is not None
    assert (state.guard.kind, state.guard.deadline, state.guard.armed) == ("systemd", 5, True)
    assert state.service == {"ActiveState": "active"}
