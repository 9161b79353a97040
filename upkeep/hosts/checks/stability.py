"""Has the agent been up, as one process without a restart, for long enough? Watched on the host itself, in one script."""

from __future__ import annotations

from datetime import timedelta

from upkeep.domain.document import words
from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.plan import Plan
from upkeep.domain.profile import AgentProfile
from upkeep.hosts.checks.platform import with_words
from upkeep.hosts.checks.service import properties
from upkeep.hosts.question import bounded
from upkeep.hosts.transport import Limits, Reply, Transport

STABLE = "service.stable"
MOST_PROCESSES = 3
"""Different main processes that are still accepted while the unit settles (Elastic Agent: more than 2 in a minute is a crash loop)."""

# Seconds are counted by the kernel's uptime: the host's clock may jump.
_WATCH = r"""
line_end='
'
# Of what systemctl has shown: the value of $1 is $value. Nothing is started for it.
value_of() {
    value=''
    case $line_end$shown in *"$line_end$1="*) value=${shown#*"$1="} && value=${value%%"$line_end"*} ;; esac
}
uptime_seconds() { IFS='. ' read -r at _ </proc/uptime; }
uptime_seconds
began=$at since=$at last='' seen=0 result=deadline
while :; do
    shown=$(systemctl show "$1" -p ActiveState -p SubState -p MainPID -p NRestarts -p Result)
    value_of ActiveState
    state=$value
    value_of MainPID
    pid=$value
    value_of NRestarts
    restarts=$value
    uptime_seconds
    if [ "$state:$pid:$restarts" != "$last" ]; then
        last=$state:$pid:$restarts since=$at
        [ "$state" != active ] || seen=$((seen + 1))
    fi
    [ "$state" != failed ] || { result=failed; break; }
    [ "$seen" -le "$4" ] || { result=crashing; break; }
    if [ "$state" = active ] && [ "$pid" != 0 ] && [ $((at - since)) -ge "$2" ]; then result=stable; break; fi
    [ $((at - began)) -lt "$3" ] || break
    sleep 0.5 2>/dev/null || sleep 1
done
printf '%s\nresult=%s\nheld=%s\nprocesses=%s\n' "$shown" "$result" "$((at - since))" "$seen"
"""


def watch(transport: Transport, profile: AgentProfile, plan: Plan, *, become: bool) -> Reply:
    """Watch the unit until it is stable, has failed, or the healthy deadline passed.

    Raises:
        HostError: the host could not be asked.
    """
    total = plan.healthy_deadline + timedelta(seconds=30)
    words_ = (
        profile.service.unit,
        str(max(1, round(plan.healthy_time.total_seconds()))) if plan.healthy_time else "0",
        str(round(plan.healthy_deadline.total_seconds())),
        str(MOST_PROCESSES),
    )
    return transport.run(with_words(_WATCH, *words_), become=become, limits=Limits(total=total, idle=total))


def settled(unit: str, plan: Plan, reply: Reply) -> Finding:
    """What the watch saw."""
    said = properties(reply.text)
    result = said.get("result", "")
    if result == "stable":
        reason = f"{unit} has been active as one process for {said.get('held')} s without a restart"
        return Finding(check=STABLE, subject=unit, verdict=Verdict.PASS, reason=reason)
    reasons = {
        "failed": f"{unit} failed ({said.get('Result')})",
        "crashing": f"{unit} keeps crashing: {said.get('processes')} processes one after the other, {said.get('NRestarts')} restarts",
        "deadline": f"{unit} was not active without a restart for {words(plan.healthy_time)} within {words(plan.healthy_deadline)}; "
        f"it is {said.get('ActiveState')} ({said.get('SubState')}) with {said.get('NRestarts')} restarts",
    }
    return Finding(
        check=STABLE,
        subject=unit,
        verdict=Verdict.FAIL if result in reasons else Verdict.UNKNOWN,
        reason=reasons.get(result, f"how {unit} is cannot be read"),
        evidence=bounded(reply.text + reply.stderr),
        remedy=f"look why with journalctl -u {unit}",
    )
