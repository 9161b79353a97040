# Packets between this host and its control centre, for some seconds and some thousand packets at the most: counted, never kept.
# shellcheck disable=SC2154 # the host's variables are handed over by Upkeep
tell_all() { for key in unanswered retransmitted resets; do say "capture.$key" "$1" '' "$2"; done && exit 0; }
[ -n "$CENTRE" ] || tell_all none 'the profile names no control centre'
command -v tcpdump >/dev/null || tell_all '?' 'the host has no tcpdump: install it (package tcpdump), then ask again'
case $V_capture_seconds in '' | *[!0-9]* | ???) tell_all '?' 'capture takes 1 to 60 seconds' ;; esac
address=$CENTRE
case $CENTRE in *[!0-9.]*) case $CENTRE in *:*) ;; *) address=$(timeout 6 getent ahosts "$CENTRE") && address=${address%% *} ;; esac ;; esac
[ -n "$address" ] || tell_all '?' "$CENTRE does not resolve, so no packet can be told to be for it"
mark=$(printf '\001')
{
    LC_ALL=C timeout -k 2 "$V_capture_seconds" tcpdump -i any -nn -l -S -s 96 -c "${V_capture_packets:-2000}" "tcp and host $address and port $CENTRE_PORT" 2>&1
    echo "$mark $?"
} | awk -v mark="$mark" -v port="$CENTRE_PORT" -v seconds="$V_capture_seconds" '
function tell(key, value, detail) { printf "capture.%s\t%s\t\t%s\n", key, value, detail }
$1 == mark { code = $2; next }
!/Flags \[/ { if (/permission|denied|[Nn]o such device|syntax error|not permitted/) trouble = $0; next }
{
    packets++
    for (i = 2; i < NF; i++) if ($i == ">") { from = $(i - 1); to = $(i + 1); sub(/:$/, "", to) }
    match($0, /Flags \[[^]]*\]/)
    flags = substr($0, RSTART + 7, RLENGTH - 8)
    seq = ""
    if (match($0, /seq [0-9:]+/)) seq = substr($0, RSTART + 4, RLENGTH - 4)
    pair = from " " to
    if (flags == "S") { syns++; if (pair in asked) again++; asked[pair] = 1 }
    if (flags == "S.") answered[to " " from] = 1
    # Only those of the other side: a question that Upkeep asks and ends with data unread resets as well.
    if (flags ~ /R/ && from ~ ("[.]" port "$")) resets++
    if (seq ~ /:/) { data++; if ((pair seq) in sent) again++; sent[pair seq] = 1 }
}
END {
    if (!packets && trouble != "") { tell("unanswered", "?", trouble); tell("retransmitted", "?", trouble); tell("resets", "?", trouble); exit }
    none = "no packet to or from port " port " in " seconds " s"
    if (!packets) { tell("unanswered", "none", none); tell("retransmitted", "none", none); tell("resets", "none", none); exit }
    for (pair in asked) { asking++; if (!(pair in answered)) open++ }
    tell("unanswered", open + 0, asking + 0 " connections asked for, " packets " packets in " seconds " s")
    if (syns + data > 0) tell("retransmitted", sprintf("%.1f", 100 * again / (syns + data)), again + 0 " of " syns + data " packets sent again")
    else tell("retransmitted", "none", "no packet with data")
    tell("resets", resets + 0, packets " packets in " seconds " s")
}'
