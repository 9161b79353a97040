# One day of the agent's journal, counted, and the kernel's errors.
lines=$(journalctl -u "$UNIT" --since "@$(($(date +%s) - 86400))" -o cat --no-pager -n 20000 2>/dev/null) && printf '%s\n' "$lines" | awk '
function tell(key, number) { printf "log.%s\t%d\t\t%s\n", key, number, substr(last[key], 1, 200) }
function seen(key) { count[key]++; last[key] = $0 }
/^-- / || /^$/ { next }
{ lines++; low = tolower($0) }
/(^|[^A-Za-z])(FATAL|PANIC)([^A-Za-z]|$)/ || low ~ /panic:/ { seen("fatal") }
/(^|[^A-Za-z])ERROR([^A-Za-z]|$)/ || low ~ /level=error/ { seen("error") }
/(^|[^A-Za-z])WARN(ING)?([^A-Za-z]|$)/ || low ~ /level=warn/ { seen("warn") }
/(^|[^A-Za-z])DEBUG([^A-Za-z]|$)/ || low ~ /level=debug/ { seen("debug") }
low ~ /connection reset|broken pipe|reset by peer|unexpected eof/ { seen("resets") }
low ~ /heartbeat[^a-z]*(.*)(miss|fail|timeout|timed out|late|lost)|(miss|lost|failed|late)[a-z]* heartbeat/ { seen("heartbeats") }
low ~ /unauthori[sz]ed|authentication fail|invalid (credential|token)|expired token|token (has )?expired|status 40[13]/ { seen("logins") }
low ~ /out of memory|cannot allocate|no space left|too many open files|resource temporarily unavailable/ { seen("resources") }
END {
    tell("lines", lines); tell("fatal", count["fatal"]); tell("error", count["error"]); tell("warn", count["warn"]); tell("debug", count["debug"])
    tell("resets", count["resets"]); tell("heartbeats", count["heartbeats"]); tell("logins", count["logins"]); tell("resources", count["resources"])
    if (lines) printf "log.debug_share\t%.1f\t\t\n", 100 * count["debug"] / lines
    else print "log.debug_share\tnone\t\tthe journal holds nothing of the last day"
}'
if kernel=$(journalctl -k -p 3 --since "@$(($(date +%s) - 86400))" -o cat --no-pager -n 500 2>/dev/null); then
    printf '%s\n' "$kernel" | awk '
    /^-- / || /^$/ { next }
    { errors++; last = $0 }
    /I\/O error|EXT4-fs error|XFS.*(error|corrupt)|blk_update_request|medium error|nvme.*timeout/ { disk++; last_disk = $0 }
    END {
        printf "kernel.errors\t%d\t\t%s\n", errors, substr(last, 1, 200)
        printf "kernel.disk_errors\t%d\t\t%s\n", disk, substr(last_disk, 1, 200)
    }'
else
    for key in errors disk_errors; do say "kernel.$key" '?' '' 'the journal of the kernel cannot be read'; done
fi
