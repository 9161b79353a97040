# One day of the agent's journal, counted, and the kernel's errors: one pass over both.
mark=$(printf '\001')
{
    journalctl -u "$UNIT" --since -24h -o cat --no-pager -n 20000 2>/dev/null
    echo "$mark agent $?"
    journalctl -k -p 3 --since -24h -o cat --no-pager -n 500 2>/dev/null
    echo "$mark kernel $?"
} | awk -v mark="$mark" '
function tell(key, number) { printf "log.%s\t%d\t\t%s\n", key, number, substr(last[key], 1, 200) }
function seen(key) { count[key]++; last[key] = $0 }
$1 == mark { read[$2] = $3; kernel = 1; next }
/^-- / || /^$/ { next }
kernel { errors++; last_error = $0 }
kernel && /I\/O error|EXT4-fs error|XFS.*(error|corrupt)|blk_update_request|medium error|nvme.*timeout/ { disk++; last_disk = $0 }
kernel { next }
{ lines++; low = tolower($0) }
/(^|[^A-Za-z])(FATAL|PANIC)([^A-Za-z]|$)/ || low ~ /panic:/ { seen("fatal") }
/(^|[^A-Za-z])ERROR([^A-Za-z]|$)/ || low ~ /level=error/ { seen("error") }
/(^|[^A-Za-z])WARN(ING)?([^A-Za-z]|$)/ || low ~ /level=warn/ { seen("warn") }
/(^|[^A-Za-z])DEBUG([^A-Za-z]|$)/ || low ~ /level=debug/ { seen("debug") }
low ~ /connection reset|broken pipe|reset by peer|unexpected eof|eof occurred/ { seen("resets") }
low ~ /heartbeat[^a-z]*(.*)(miss|fail|timeout|timed out|late|lost)|(miss|lost|failed|late)[a-z]* heartbeat/ { seen("heartbeats") }
low ~ /unauthori[sz]ed|authentication fail|invalid (credential|token)|expired token|token (has )?expired|status 40[13]/ { seen("logins") }
low ~ /out of memory|cannot allocate|no space left|too many open files|resource temporarily unavailable/ { seen("resources") }
/(^|[^A-Za-z])(FATAL|PANIC|ERROR|WARN(ING)?)([^A-Za-z]|$)/ || low ~ /panic:|level=(error|warn)/ {
    kind = $0
    gsub(/[0-9a-fA-F]*[0-9][0-9a-fA-F.:+-]*/, "#", kind)
    gsub(/[\t ]+/, " ", kind)
    kind = substr(kind, 1, 120)
    if (kind in kinds || different++ < 40) kinds[kind]++
}
END {
    if (read["agent"] == "0" && !different) print "log.kind\tnone\t\tno warning and no error in the last day"
    if (read["agent"] == "0") for (kind in kinds) printf "log.kind\t%d\t%s\t\n", kinds[kind], kind
    if (read["agent"] == "0") {
        tell("lines", lines); tell("fatal", count["fatal"]); tell("error", count["error"]); tell("warn", count["warn"]); tell("debug", count["debug"])
        tell("resets", count["resets"]); tell("heartbeats", count["heartbeats"]); tell("logins", count["logins"]); tell("resources", count["resources"])
        if (lines) printf "log.debug_share\t%.1f\t\t\n", 100 * count["debug"] / lines
        else print "log.debug_share\tnone\t\tthe journal holds nothing of the last day"
    }
    if (read["kernel"] == "0") {
        printf "kernel.errors\t%d\t\t%s\n", errors, substr(last_error, 1, 200)
        printf "kernel.disk_errors\t%d\t\t%s\n", disk, substr(last_disk, 1, 200)
    } else {
        print "kernel.errors\t?\t\tthe journal of the kernel cannot be read"
        print "kernel.disk_errors\t?\t\tthe journal of the kernel cannot be read"
    }
}'
