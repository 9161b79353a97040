# The last quarter of an hour of the agent's journal, or what came since a repair, by what its lines complain of.
# shellcheck disable=SC2154 # `shown` sets it
# An agent that somebody started and that has not died since is not blamed for what an earlier process wrote.
since=${RECENT:-900}
if shown ActiveState && [ "$shown" = active ] && shown NRestarts && [ "$shown" = 0 ] && shown ExecMainStartTimestampMonotonic; then
    case $shown in
    '' | 0 | *[!0-9]*) ;;
    *)
        read -r up _ <"$R/proc/uptime"
        ran=$((${up%.*} - shown / 1000000))
        [ "$ran" -ge "$since" ] || [ "$ran" -lt 1 ] || since=$ran
        ;;
    esac
fi
lines=$(journalctl -u "$UNIT" --since "-${since}s" -o cat --no-pager -n 2000 2>/dev/null) && printf '%s\n' "$lines" | awk '
function seen(key) { count[key]++; last[key] = $0 }
/^-- / || /^$/ { next }
{ low = tolower($0) }
low !~ /error|warn|fatal|panic|fail|refus|reset|time|expire|unauth|denied|missed|lost|no such|not known|unreach|too many|cannot|not a key|invalid|unknown|missing|answered [45]|eof/ { next }
low ~ /no such host|name or service not known|temporary failure in name|could not resolve|server misbehaving/ { seen("name") }
low ~ /network is unreachable|no route to host/ { seen("route") }
low ~ /connection refused/ { seen("refused") }
low ~ /timed out|i\/o timeout|deadline exceeded/ { seen("timeout") }
low ~ /reset by peer|connection reset|broken pipe|unexpected eof|eof occurred|closed the connection|remote end closed/ { seen("reset") }
low ~ /unable to get local issuer|unknown authority|self.signed certificate|certificate verify failed|not trusted/ && low !~ /expired|not yet valid|hostname|mismatch/ { seen("untrusted") }
low ~ /certificate has expired|certificate.*(expired|not yet valid)/ { seen("expired") }
low ~ /hostname mismatch|certificate is valid for|not valid for|doesn.t match/ { seen("misnamed") }
low ~ /unauthori[sz]ed|answered 40[13]|invalid (token|credential)|expired token|token (has )?expired|authentication fail/ { seen("login") }
low ~ /protocol version|unsupported (version|protocol)|answered 426|wrong version number|version.*(too old|not supported|incompatible)/ { seen("version") }
low ~ /answered 5[0-9][0-9]|bad gateway|service unavailable/ { seen("centre") }
low ~ /(^|[^0-9])407([^0-9]|$)|proxy authentication/ { seen("proxy") }
low ~ /heartbeat.*(miss|fail|late|lost)|(missed|lost|failed) heartbeat/ { seen("heartbeat") }
low ~ /too many open files|out of memory|cannot allocate|no space left|resource temporarily|memoryerror|cannot assign requested|read-only file system/ { seen("resources") }
low ~ /permission denied|operation not permitted/ { seen("permission") }
low ~ /(config|\.ya?ml|\.conf).*(invalid|missing|not a key|cannot|unknown|is not|is none)|invalid configuration/ { seen("config") }
low ~ /session (expired|closed|timed out)|idle timeout|keep.?alive/ { seen("session") }
END {
    n = split("name route refused timeout reset untrusted expired misnamed login version centre proxy heartbeat resources permission config session", keys, " ")
    for (i = 1; i <= n; i++) printf "recent.%s\t%d\t\t%s\n", keys[i], count[keys[i]], substr(last[keys[i]], 1, 200)
}'
