"""Scripts over SSH: one kept connection per host, opened when it is first needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from importlib import resources

import paramiko

from upkeep.errors import HostError, LoginRefused, Unreachable
from upkeep.hosts.answer import Answer
from upkeep.hosts.bootstrap import Call, encode_call
from upkeep.hosts.feed import Feed
from upkeep.hosts.ssh_link import SshLink, open_link
from upkeep.hosts.ssh_session import SshSession
from upkeep.hosts.ssh_target import SshTarget
from upkeep.hosts.stopwatch import Stopwatch
from upkeep.hosts.transport import Limits, Reply

_HANGUP = (resources.files("upkeep.hosts") / "hangup.sh").read_text("utf-8")
_HANGUP_LIMITS = Limits(total=timedelta(seconds=5), idle=timedelta(seconds=5), output_bytes=4096)


class SshTransport:
    """One host over SSH. Calls from several threads wait for each other."""

    def __init__(self, target: SshTarget) -> None:
        self.target, self.host = target, target.name
        self._link: SshLink | None = None
        self._lock = threading.Lock()

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

        A kept connection that turns out to be lost is opened again once, and only while nothing of the script has been sent.
        A script that a signal killed ends with code 255: SSH says no more about it.

        Raises:
            Unreachable, HostKeyRejected, LoginRefused: no connection.
            PrivilegeRefused: sudo refused.
            GarbledOutput: the login ran something else than the script.
            CommandTimeout: a limit passed; the script is hung up on.
        """
        limits = limits or Limits()
        call = encode_call(script, become=self.target.become if become else "none", password=self.target.sudo_password)
        answer = Answer(call.nonce, limits.output_bytes, sink)
        with self._lock:
            session = self._session(call, answer)
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
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _session(self, call: Call, answer: Answer) -> SshSession:
        """A session in which the command has been started and the script not yet sent."""
        link = self._link
        if link is not None:
            if link.alive:
                with suppress(paramiko.SSHException, EOFError, OSError):
                    return self._started(link, call, answer)
            if link.alive:
                raise self._no_session("the host opened no session")
            self.close()
        self._link = link = open_link(self.target)
        try:
            return self._started(link, call, answer)
        except (paramiko.SSHException, EOFError, OSError) as error:
            alive = link.alive
            self.close()
            if alive:
                raise self._no_session(str(error)) from error
            raise Unreachable(
                self.host, "the connection broke as the script was about to start", evidence=str(error)
            ) from error

    def _started(self, link: SshLink, call: Call, answer: Answer) -> SshSession:
        seconds = self.target.connect_timeout.total_seconds()
        with link.no_longer_than(seconds):
            session = SshSession(link, link.last.open_session(timeout=seconds), call, answer)
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
        session = self._started(link, call, Answer(call.nonce, _HANGUP_LIMITS.output_bytes))
        session.run(lambda wire: Feed(call, (), wire, watch), watch)
