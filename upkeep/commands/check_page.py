"""docs/checks.md, written from the catalogue: `upkeep checks page > docs/checks.md`."""

from __future__ import annotations

from itertools import groupby

from upkeep.commands.checking import fails_when, how, warns_when
from upkeep.domain.check import Catalogue, Check

_ABOVE = """\
# Checks

What hosts are asked, how it is judged, and what to do about it. This page is written from the catalogue
(`upkeep/catalogue/*.yaml`); a test holds it up to date. The same on the command line, with the site's own checks:
`upkeep checks list`, `upkeep checks explain CHECK`, `upkeep checks try HOST -p PLAN`.

- All looks of an inspection travel as **one** script in one round trip, at low priority (`nice`, idle disk class), each with a
  time limit of its own. Nothing is written on the host.
- What does not answer is **unknown**, check by check, and unknown is never counted as healthy. `nothing to judge` (no swap, no
  secret file) is said in words and passes.
- `warn` tells people; `fail` and `unknown` make the host's inspection fail.

## A site's own checks

In `$UPKEEP_HOME/checks.yaml` (or the file `UPKEEP_CHECKS` names) for every fleet, and in `checks.yaml` beside a plan for its
hosts; errors name file, line, key, what was found and what is allowed.

```yaml
checks:
  - id: site.queue.depth              # lower case words joined by dots
    asks: Do messages pile up?
    script: |                         # sh, prints VALUE, or VALUE<TAB>SUBJECT<TAB>DETAIL; one line a finding
      rabbitmqctl -q list_queues messages name | awk '{ print $1 "\\t" $2 }'
    warn: {above: 1000}
    fail: {above: 10000}
    says: "{value} messages wait in {subject}"
    remedy: look at the consumers
    trend: {reaches: 10000, within_days: 3}
  - id: site.replication.lag
    asks: How far is the replica behind?
    metric:
      command: [psql, -Atc, "select extract(epoch from now() - pg_last_xact_replay_timestamp())"]
      pattern: '([0-9.]+)'
      unit: s
      at_most: 30
  - id: site.slo.p95
    asks: Is the 95th percentile within its objective?
    needs: [metrics_address]          # asked only of hosts with this variable
    metric: {url: "http://127.0.0.1:7200/metrics", pattern: 'request_seconds\\{quantile="0.95"\\} ([0-9.]+)', unit: s, at_most: 0.8}
  - id: site.portal
    asks: Does the portal answer in time?
    http: {url: "http://127.0.0.1:7200/health", latency: 300ms}
  - id: site.heartbeat.interval
    asks: Which heartbeat interval is in force, and who says so?
    setting: {file: /etc/mcp/agent.yaml, drop_ins: "/etc/mcp/agent.d/*.yaml", pattern: "^heartbeat_interval:", env: MCP_HEARTBEAT_INTERVAL,
      remote: "http://127.0.0.1:7200/settings", default: "30", expect: file}
    warn: {below: 30, above: 60}
adjust:
  agent.log.error: {warn: {above: 20}}    # other limits than the catalogue's
  agent.user: {off: true}                 # this agent has to be root
```

One way to ask: `script`, `http`, `tcp`, `dns`, `tls`, `command`, `metric` (as in profiles), `setting`, or `look` and `key`.

A profile names its agent's `settings` in the same words (`settings: {heartbeat_interval: {file: …, pattern: …, env: …}}`). For each, every
inspection shows which source wins and tells sources that disagree (`agent.setting.sources`); `heartbeat_interval`, `heartbeat_timeout`,
`keep_alive`, `session_timeout`, `sync_interval`, `sync_retries` and `sync_timeout` are also judged against each other.
"""


def page(catalogue: Catalogue) -> str:
    """The page, with every check by chapter."""
    parts = [_ABOVE, f"\n## The {len(catalogue.checks)} checks\n"]
    ordered = sorted(catalogue.checks, key=lambda check: check.chapter)
    for chapter, checks in groupby(ordered, key=lambda check: check.chapter):
        parts += [f"\n### {chapter}\n\n", "| check | asks | warns | fails | do | for | serves | how |\n"]
        parts += ["| --- | --- | --- | --- | --- | --- | --- | --- |\n", *map(_row, checks)]
    return "".join(parts)


def _row(check: Check) -> str:
    cells = (
        f"`{check.id}`",
        check.asks,
        warns_when(check),
        fails_when(check),
        check.remedy,
        ", ".join(check.purposes),
        " ".join(check.serves),
        how(check),
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
