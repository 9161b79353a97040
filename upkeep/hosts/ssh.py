"""Scripts over SSH: one kept connection per host, opened when it is first needed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from importlib import resources
from typing import TypeVar

import paramiko

from upkeep.errors import HostError, LoginRefused, Unreachable, UpkeepError
from upkeep.hosts.answer import Answer
from upkeep.hosts.bootstrap import Become, Call, encode_call
from upkeep.hosts.feed import Feed
from upkeep.hosts.host_script import common
from upkeep.hosts.kept_shell import LOOP
from upkeep.hosts.ssh_link import SshLink, open_link
from upkeep.hosts.ssh_session import SshSession
from upkeep.hosts.ssh_shell import MOST_BYTES, ShellGone, SshShell
from upkeep.hosts.ssh_target import SshTarget
from upkeep.hosts.stopwatch import Stopwatch
from upkeep.hosts.transport import Limits, Reply

_HANGUP = (resources.files("upkeep.hosts") / "hangup.sh").read_text("utf-8")
_HANGUP_LIMITS = Limits(total=timedelta(seconds=5), idle=timedelta(seconds=5), output_bytes=4096)

_MOMENTS, _MOMENT_SECONDS = 20, 0.05

Session = TypeVar("Session", bound=SshSession)


class SshTransport:
    """One host over SSH. Calls from several threads wait for each other."""

    def __init__(self, target: SshTarget) -> None:
        self.target, self.host = target, target.name
        self._link: SshLink | None = None
        self._shell: SshShell | None = None
        self._keeps_shells = True
        self._closed = 0
        self._early_error: UpkeepError | None = None
        self._lock = threading.Lock()

    def connect(self) -> None:
        """Open the connection ahead of the first script, which is told instead if that fails."""
        with self._lock:
            if self._link is None:
                try:
                    self._link = open_link(self.target)
                except UpkeepError as error:
                    self._early_error = error

    def run(
        self,
        script: str,
        *,
        become: bool = False,
        stdin: Iterable[bytes] = (),
        sink: Callable[[bytes], None] | None = None,
        limits: Limits | None = None,
    ) -> Reply:
        """Run `script` on the host; see `Transport.run`.

        Scripts without data and sink share one shell on the host, each in a process of its own; others get a channel of their own.
        A kept connection that turns out to be lost is opened again once, and only while nothing of the script has been sent.

        Raises:
            Unreachable, HostKeyRejected, LoginRefused: no connection.
            PrivilegeRefused: sudo refused.
            GarbledOutput: the login ran something else than the script.
            CommandTimeout: a limit passed; the script is hung up on.
        """
        limits, as_whom = limits or Limits(), self.target.become if become else "none"
        with self._lock:
            if sink is None and stdin == () and len(script) < MOST_BYTES:
                return self._in_shell(script, as_whom, limits)
            return self._alone(script, as_whom, stdin, sink, limits)

    def _in_shell(self, script: str, become: Become, limits: Limits) -> Reply:
        for _ in range(2):
            shell, closed = self._open_shell(become, Stopwatch(self.host, limits)), self._closed
            if shell is None:
                break
            try:
                return self._call(shell, script, limits)
            except ShellGone as error:
                self.close()
                if self._closed != closed + 1:
                    raise Unreachable(self.host, "the connection was ended before the script began") from error
            except BaseException:
                self._give_up(shell)
                raise
        return self._alone(script, become, (), None, limits)

    def _call(self, shell: SshShell, script: str, limits: Limits) -> Reply:
        watch, kept = Stopwatch(self.host, limits), common()
        if not script.startswith(kept.text):
            code, answer = shell.call(script, "plain", limits, watch)
        else:
            if shell.knows != kept.text:
                shell.keep(kept, watch)
            code, answer = shell.call(script.removeprefix(kept.text), "shared", limits, watch)
        return answer.reply(code, watch.seconds)

    def _open_shell(self, become: Become, watch: Stopwatch) -> SshShell | None:
        """The shell that is there, or a new one; None on a host whose login keeps none."""
        shell = self._shell
        if shell is not None and shell.become == become and shell.alive:
            return shell
        self._end_shell()
        if not self._keeps_shells:
            return None
        call = encode_call(LOOP, become=become, password=self.target.sudo_password)
        shell = self._session(SshShell, call, Answer(call.nonce, 0))
        try:
            shell.begin(watch)
        except ShellGone:
            self._keeps_shells = False
            shell.close()
            return None
        except BaseException:
            self._give_up(shell)
            raise
        self._shell = shell
        return shell

    def _give_up(self, shell: SshShell) -> None:
        self._shell = None
        shell.close()
        self._hang_up(shell.answer, shell.asked)

    def _end_shell(self) -> None:
        shell, self._shell = self._shell, None
        if shell is not None and shell.alive:
            with suppress(paramiko.SSHException, EOFError, OSError):
                shell.end()

    def _alone(
        self,
        script: str,
        become: Become,
        stdin: Iterable[bytes],
        sink: Callable[[bytes], None] | None,
        limits: Limits,
    ) -> Reply:
        call = encode_call(script, become=become, password=self.target.sudo_password)
        answer = Answer(call.nonce, limits.output_bytes, sink)
        session = self._session(SshSession, call, answer)
        watch = Stopwatch(self.host, limits)
        try:
            code = session.run(lambda wire: Feed(call, stdin, wire, watch), watch)
        except BaseException:
            self._hang_up(answer, call)
            raise
        return answer.reply(code, watch.seconds)

    def rest(self) -> bool:
        """End the connection unless a script runs; the next script opens it again."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            self.close()
        finally:
            self._lock.release()
        return True

    def close(self) -> None:
        """End the connection, from any thread; a script that still runs is cut off."""
        self._closed += 1
        link, self._link, self._shell = self._link, None, None
        if link is not None:
            link.close()

    def _session(self, kind: type[Session], call: Call, answer: Answer) -> Session:
        """A session in which the command has been started and the script not yet sent.

        A host may allow one session at a time: then the shell has to go first.
        """
        link = self._link
        if link is not None:
            if link.alive:
                with suppress(paramiko.SSHException, EOFError, OSError):
                    return self._started(kind, link, call, answer)
            if link.alive:
                self._end_shell()
                if session := self._started_when_free(kind, link, call, answer):
                    return session
            if link.alive:
                raise self._no_session("the host opened no session")
            self.close()
        self._link = link = self._opened()
        try:
            return self._started(kind, link, call, answer)
        except (paramiko.SSHException, EOFError, OSError) as error:
            alive = link.alive
            self.close()
            if alive:
                raise self._no_session(str(error)) from error
            raise Unreachable(
                self.host, "the connection broke as the script was about to start", evidence=str(error)
            ) from error

    def _opened(self) -> SshLink:
        error, self._early_error = self._early_error, None
        if error is not None:
            raise error
        return open_link(self.target)

    def _started_when_free(self, kind: type[Session], link: SshLink, call: Call, answer: Answer) -> Session | None:
        """A host takes a moment to count a session as ended."""
        for _ in range(_MOMENTS):
            if not link.alive:
                break
            with suppress(paramiko.SSHException, EOFError, OSError):
                return self._started(kind, link, call, answer)
            time.sleep(_MOMENT_SECONDS)
        return None

    def _started(self, kind: type[Session], link: SshLink, call: Call, answer: Answer) -> Session:
        seconds = self.target.connect_timeout.total_seconds()
        with link.no_longer_than(seconds):
            session = kind(link, link.last.open_session(timeout=seconds), call, answer)
            session.start()
        return session

    def _no_session(self, evidence: str) -> HostError:
        return LoginRefused(
            self.host,
            f"{self.target.login} accepted the key and refuses to run commands",
            evidence=evidence,
            remedy="look for MaxSessions, ForceCommand or a subsystem-only account in the host's sshd_config",
        )

    def _hang_up(self, answer: Answer, call: Call) -> None:
        """End the script on the host as well; if that does not work, end the connection."""
        link = self._link
        if link is None:
            return
        if not answer.pid or not link.alive:
            self.close()
            return
        password = self.target.sudo_password if call.become == "sudo" else None
        reaper = encode_call(f"script={answer.pid}\n{_HANGUP}", become=call.become, password=password)
        try:
            self._reap(link, reaper)
        except (HostError, paramiko.SSHException, EOFError, OSError):
            self.close()

    def _reap(self, link: SshLink, call: Call) -> None:
        watch = Stopwatch(self.host, _HANGUP_LIMITS)
        session = self._started(SshSession, link, call, Answer(call.nonce, _HANGUP_LIMITS.output_bytes))
        session.run(lambda wire: Feed(call, (), wire, watch), watch)
