"""The host's way to others: names, TCP ports, HTTP direct and through a proxy. What went wrong is told apart, each with its remedy."""

from __future__ import annotations

import ipaddress
import re
import shlex

from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.profile import CommandProbe, DnsProbe, HttpProbe, TcpProbe
from upkeep.hosts.checks.platform import with_words
from upkeep.hosts.fetches import Fetch
from upkeep.hosts.question import Answer, Question, bounded, unknown

_TCP = r"""
if command -v bash >/dev/null; then
    timeout "$3" bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2"; code=$?
elif command -v nc >/dev/null; then
    nc -z -w "$3" "$1" "$2"; code=$?
elif command -v curl >/dev/null; then
    curl -sS --connect-timeout "$3" --max-time "$3" "telnet://$1:$2" </dev/null; code=$?
    [ "$code" -ne 28 ] || code=124
else
    code=127
fi
[ "$code" -ne 124 ] || echo 'timed out'
[ "$code" -ne 127 ] || echo 'no tool'
echo "code=$code"
"""


def tcp(probe: TcpProbe) -> Question:
    """Does a TCP connection come about?"""
    where, seconds = f"{probe.address}:{probe.port}", max(1, round(probe.timeout.total_seconds()))
    check = f"net.tcp.{probe.id}"

    def judge(answer: Answer) -> Finding:
        text = answer.text
        if "code=0" in text:
            return Finding(check=check, verdict=Verdict.PASS, reason=f"{where} takes connections")
        if "no tool" in text:
            return unknown(
                check, "", "the host has neither bash, nc nor curl", remedy="install curl or netcat on the host"
            )
        for sign, what, remedy in _TCP_TROUBLE:
            if re.search(sign, text, re.IGNORECASE):
                return Finding(
                    check=check, verdict=Verdict.FAIL, reason=f"{where}: {what}", evidence=bounded(text), remedy=remedy
                )
        return Finding(
            check=check,
            verdict=Verdict.FAIL,
            reason=f"{where} cannot be connected to",
            evidence=bounded(text),
            remedy=_ROUTE,
        )

    return Question(
        check,
        with_words(_TCP, probe.address, str(probe.port), str(seconds)),
        judge,
        timeout=probe.timeout * 2,
        slow=True,
        soon=True,
        bare=True,
    )


_ROUTE = "look at routes and firewalls between host and target"
_TCP_TROUBLE = (
    (
        "refused",
        "the connection is refused; nothing listens there",
        "start the service there, or correct address and port",
    ),
    (
        "timed out|timeout",
        "no answer (timeout); packets are dropped on the way",
        "open the port in the firewalls on the way",
    ),
    ("no route|unreachable", "there is no route", _ROUTE),
    (
        "resolve|name or service|temporary failure|invalid argument",
        "the name does not resolve",
        "correct the name, or repair the host's DNS",
    ),
)


def dns(probe: DnsProbe) -> Question:
    """Does a name resolve, and to what it should?"""
    check = f"net.dns.{probe.id}"

    def judge(answer: Answer) -> Finding:
        found = [word for line in answer.text.splitlines() for word in line.split()[:1] if _is_address(word)]
        if answer.exit_code == 0 and found and (not probe.expect or set(found) & set(probe.expect)):
            return Finding(
                check=check, verdict=Verdict.PASS, reason=f"{probe.name} resolves to {', '.join(dict.fromkeys(found))}"
            )
        if found:
            reason = f"{probe.name} resolves to {', '.join(dict.fromkeys(found))}, not to {', '.join(probe.expect)}"
            return Finding(
                check=check,
                verdict=Verdict.FAIL,
                reason=reason,
                remedy="correct the record, or wait for old answers to expire",
            )
        if answer.missing:
            return unknown(check, "", "the host has no getent", remedy="install libc-bin")
        reason = f"{probe.name} does not resolve"
        remedy = "correct the name, or repair the host's resolver (/etc/resolv.conf)"
        return Finding(check=check, verdict=Verdict.FAIL, reason=reason, evidence=bounded(answer.text), remedy=remedy)

    return Question(check, with_words('getent ahosts "$1"', probe.name), judge, slow=True, soon=True, bare=True)


_WRITTEN = r"\nupkeep-status=%{http_code} upkeep-seconds=%{time_total} upkeep-connect=%{http_connect}\n"
_HTTP = r"""
if command -v curl >/dev/null; then
    curl -sS -L --max-redirs 3 --max-time "$2" ${3:+--proxy "$3"} ${4:+--cacert "$4"} -o - \
        -w '@WRITTEN@' "$1"
    echo "upkeep-code=$?"
elif command -v wget >/dev/null; then
    started=$(date +%s%N)
    https_proxy=$3 http_proxy=$3 wget -q -S -O - -T "$2" -t 1 ${4:+--ca-certificate "$4"} "$1"
    code=$?
    echo; echo "upkeep-code=$code upkeep-wget=1 upkeep-ns=$(($(date +%s%N) - started))"
else
    echo upkeep-code=127
fi
""".replace("@WRITTEN@", _WRITTEN)

_CURL_TROUBLE = {
    5: ("the proxy's name does not resolve", "correct the proxy's address in the profile"),
    6: ("the name does not resolve", "correct the name, or repair the host's DNS"),
    7: ("the connection is refused; nothing listens there", "start the service there, or correct address and port"),
    28: ("no answer (timeout)", "look whether the service hangs, and at firewalls on the way"),
    35: ("the TLS handshake fails", "look at the server's certificate and TLS versions"),
    47: ("redirects in a circle", "correct the URL"),
    51: ("the certificate is for another name", "correct the URL, or renew the certificate"),
    52: ("the server closed the connection without an answer", "look at the server's log"),
    56: ("the connection broke", "look at proxy and server logs"),
    60: ("the certificate is not trusted", "install the issuing CA on the host, or name it in the probe's ca"),
    77: ("the CA file cannot be read", "correct the probe's ca"),
    97: ("the proxy refuses", "look at the proxy's log"),
}

_WGET_TROUBLE = {4: 7, 5: 60}


def http(probe: HttpProbe) -> Question:
    """Does a URL answer as it should? Status, body, time, and what stood in the way."""
    check = f"net.http.{probe.id}"
    way = f" through proxy {probe.proxy}" if probe.proxy else ""

    def judge(answer: Answer) -> Finding:
        code = _number(r"upkeep-code=(\d+)", answer.text)
        if code is None:
            return unknown(check, "", f"what {probe.url} answered cannot be read", evidence=answer.text)
        if code == 127:  # noqa: PLR2004 - as sh says it
            return unknown(check, "", "the host has neither curl nor wget", remedy="install curl on the host")
        body, status = _body_and_status(answer.text)
        if status == 407 or _number(r"upkeep-connect=(\d+)", answer.text) == 407:  # noqa: PLR2004 - HTTP
            return _fail(
                check,
                f"{probe.url}{way}: the proxy demands a login (407)",
                answer,
                "give the proxy credentials, or let the host bypass it",
            )
        if code != 0 and not status:
            what, remedy = _CURL_TROUBLE.get(
                _WGET_TROUBLE.get(code, code) if "upkeep-wget" in answer.text else code, ("no answer", "ask by hand")
            )
            return _fail(check, f"{probe.url}{way}: {what}", answer, remedy)
        return _judged_answer(probe, check, answer, body, status or 0)

    words = (probe.url, f"{probe.timeout.total_seconds():g}", probe.proxy or "", probe.ca or "")
    return Question(
        check,
        with_words(_HTTP, *words),
        judge,
        timeout=probe.timeout * 2,
        slow=True,
        soon=True,
        bare=True,
        fetch=_fetched(probe),
    )


def _fetched(probe: HttpProbe) -> Fetch:
    """How curl is told what _HTTP asks."""
    given = {"--proxy": probe.proxy, "--cacert": probe.ca}
    more = [word for name, value in given.items() if value for word in (name, value)]
    options = ("-sS", "-L", "--max-redirs", "3", *more, "-o", "-")
    return Fetch(options, probe.url, probe.timeout.total_seconds(), f"{_WRITTEN}upkeep-code=0\\n")


def command(probe: CommandProbe) -> Question:
    """Does a command of the site's own succeed? Databases, queues, load balancers."""
    check = f"verify.command.{probe.id}"

    def judge(answer: Answer) -> Finding:
        if answer.missing:
            return unknown(
                check,
                "",
                f"{probe.command[0]} is not on the host",
                evidence=answer.text,
                remedy=f"install {probe.command[0]}",
            )
        good = answer.exit_code == 0 and (probe.pattern is None or re.search(probe.pattern, answer.text) is not None)
        what = f"ended with code {answer.exit_code}" + (
            "" if probe.pattern is None else f"; its output should match {probe.pattern}"
        )
        return Finding(
            check=check,
            verdict=Verdict.PASS if good else Verdict.FAIL,
            reason=f"{probe.command[0]} {'is as it should be' if good else what}",
            evidence="" if good else bounded(answer.text),
            remedy="" if good else probe.remedy or "run it by hand on the host",
        )

    return Question(check, shlex.join(probe.command), judge, timeout=probe.timeout)


def _judged_answer(probe: HttpProbe, check: str, answer: Answer, body: str, status: int) -> Finding:
    seconds = _seconds(answer.text)
    if status != probe.status:
        return _fail(
            check, f"{probe.url} answers {status}, it should be {probe.status}", answer, "look at the service's log"
        )
    if probe.body is not None and not re.search(probe.body, body):
        portal = bool(re.match(r"\s*<(!doctype|html)", body, re.IGNORECASE))
        what = "an HTML page, perhaps of a captive portal or a login" if portal else "something else"
        return _fail(
            check,
            f"{probe.url} answers {what} and not what matches {probe.body}",
            answer,
            "ask the URL by hand from the host",
        )
    if probe.latency is not None and seconds > probe.latency.total_seconds():
        reason = f"{probe.url} answers after {seconds * 1000:.0f} ms, at most {probe.latency.total_seconds() * 1000:.0f} ms is accepted"
        return _fail(check, reason, answer, "look why the service is slow").model_copy(
            update={"value": seconds, "unit": "s"}
        )
    return Finding(
        check=check,
        verdict=Verdict.PASS,
        reason=f"{probe.url} answers {status} in {seconds * 1000:.0f} ms",
        value=seconds,
        unit="s",
    )


def _fail(check: str, reason: str, answer: Answer, remedy: str) -> Finding:
    return Finding(check=check, verdict=Verdict.FAIL, reason=reason, evidence=bounded(answer.text), remedy=remedy)


def _body_and_status(text: str) -> tuple[str, int | None]:
    marked = text.rpartition("\nupkeep-status=")
    if marked[1]:
        return marked[0], _number(r"^(\d+)", marked[2]) or None
    statuses = re.findall(r"^\s+HTTP/\S+ (\d{3})", text, re.MULTILINE)
    return text.rpartition("\nupkeep-code=")[0], int(statuses[-1]) if statuses else None


def _seconds(text: str) -> float:
    match = re.search(r"upkeep-seconds=([\d.]+)", text)
    if match:
        return float(match[1])
    return (_number(r"upkeep-ns=(\d+)", text) or 0) / 1e9


def _number(pattern: str, text: str) -> int | None:
    match = re.search(pattern, text)
    return int(match[1]) if match else None


def _is_address(word: str) -> bool:
    try:
        ipaddress.ip_address(word)
    except ValueError:
        return False
    return True
