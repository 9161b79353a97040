"""Reads from what a host printed why a script never began."""

from __future__ import annotations

import re
from dataclasses import dataclass

from upkeep.errors import GarbledOutput, HostError, LoginRefused, PrivilegeRefused
from upkeep.hosts.answer import Answer
from upkeep.hosts.bootstrap import NO_CALL_LINE, SCRIPT_CUT, SUDO_PROMPT, Call


@dataclass(frozen=True)
class Sign:
    """A pattern in the host's words, what it means and what to do."""

    pattern: re.Pattern[str]
    problem: str
    remedy: str


def _sign(pattern: str, problem: str, remedy: str) -> Sign:
    return Sign(re.compile(pattern, re.IGNORECASE), problem, remedy)


_SUDO_SIGNS = (
    _sign(
        r"must have a tty|no tty present|a terminal is required to (?!read the password)",
        "sudo demands a terminal",
        "remove 'requiretty' for this user in /etc/sudoers",
    ),
    _sign(
        r"not in the sudoers file|may not run sudo|is not allowed to (execute|run)",
        "sudo has no rule for this user",
        "allow the user /bin/sh as root in /etc/sudoers.d, or set become: none and log in as root",
    ),
    _sign(
        r"incorrect password|sorry, try again|authentication failure|maximum \d+ .*attempts",
        "sudo did not accept the password",
        "correct the password in the variable that sudo_password_env names",
    ),
    _sign(
        r"password is required|a terminal is required to read the password|no password was provided",
        "sudo asks for a password",
        "set sudo_password_env in the inventory, or write NOPASSWD: into the host's sudoers rule",
    ),
    _sign(
        r"(account|password) .*(expired|locked)|account validation failure",
        "sudo finds the account expired or locked",
        "renew or unlock the account on the host (chage -l, faillock)",
    ),
    _sign(
        r"sudo.*(not found|no such file)",
        "sudo is not installed",
        "install sudo on the host, or log in as root with become: none",
    ),
)
_SHELL_SIGNS = (
    _sign(
        r"account is currently not available|nologin|shell access is (disabled|not)|does not provide shell access|may not run commands",
        "the login shell takes no commands",
        "give the user a real login shell (usermod -s /bin/sh), or name another user in the inventory",
    ),
    _sign(
        r"(your )?password has expired|must change your password|account (has )?expired",
        "the account wants a new password first",
        "set a new password on the host, or lift its expiry (chage)",
    ),
)


def password_refused(answer: Answer) -> bool:
    """Whether sudo asks for the password a second time, so that the first one was wrong."""
    said = answer.err.noise.decode("utf-8", "replace")
    return said.count(SUDO_PROMPT) > 1 or "Sorry, try again" in said


def explain_silence(host: str, call: Call, answer: Answer, exit_code: int) -> HostError:
    """The error for a script that never began although the connection held; `exit_code` is what the host reported."""
    said = answer.noise().replace(SUDO_PROMPT, "").strip()
    if call.become == "sudo" and (error := _match(PrivilegeRefused, _SUDO_SIGNS, host, said)):
        return error
    if error := _match(LoginRefused, _SHELL_SIGNS, host, said):
        return error
    if exit_code in {NO_CALL_LINE, SCRIPT_CUT}:
        problem = "the script did not arrive whole on standard input"
        remedy = "look for a login file (.bashrc, .profile) or a forced command on the host that reads standard input"
        return GarbledOutput(host, problem, evidence=said, remedy=remedy)
    if call.become == "sudo" and exit_code == 1 and "sudo:" in said:
        return PrivilegeRefused(host, "sudo refused", evidence=said, remedy="run 'sudo -v' as this user on the host")
    return GarbledOutput(
        host,
        f"the login ran something else than our script (exit code {exit_code})",
        evidence=said,
        remedy="look for ForceCommand in sshd_config, command= in authorized_keys, or a login shell that is none",
    )


def _match(kind: type[HostError], signs: tuple[Sign, ...], host: str, said: str) -> HostError | None:
    for sign in signs:
        if sign.pattern.search(said):
            return kind(host, sign.problem, evidence=said, remedy=sign.remedy)
    return None
