# The network as the kernel counts it: what is sent again, dropped, overflowing; connections to the control centre; the way out.
set --
# Listing every connection makes the kernel walk all its tables: not where there is no control centre to look for among them.
connections='net/tcp net/tcp6' tcp=''
if [ "${CENTRE_PORT:-0}" = 0 ]; then
    for file in $connections; do
        [ -n "$tcp" ] || [ ! -r "$R/proc/$file" ] || { read -r _ && read -r _ && tcp=1; } <"$R/proc/$file"
    done
    connections=''
fi
for file in net/snmp net/netstat net/dev net/sockstat $connections net/route net/ipv6_route sys/net/ipv4/ip_local_port_range; do
    [ ! -r "$R/proc/$file" ] || set -- "$@" "$R/proc/$file"
done
[ $# -eq 0 ] || awk -v port="${CENTRE_PORT:-0}" -v tcp="$tcp" '
BEGIN { centre = sprintf(":%04X", port) }
function tell(key, value, detail, subject) { printf "net.%s\t%s\t%s\t%s\n", key, value, subject, detail }
FNR == 1 { n = split(FILENAME, part, "/"); file = part[n] }
file == "snmp" || file == "netstat" {
    if ($1 == header) { for (i = 2; i <= NF; i++) counter[$1 name[i]] = $i; header = "" }
    else { header = $1; for (i = 2; i <= NF; i++) name[i] = $i }
    next
}
file == "dev" && /:/ && $1 !~ /^lo:/ { sub(/:/, " "); errors += $4 + $12; drops += $5 + $13; interfaces++; next }
file == "sockstat" && $1 == "TCP:" { used = $3; orphans = $5; waiting = $7; next }
file == "ip_local_port_range" { ports = $2 - $1 + 1; next }
(file == "tcp" || file == "tcp6") && FNR > 1 {
    tcp = 1
    if (index($3, centre) && centre != ":0000") { if ($4 == "01") up++; if ($4 == "02") { asking++ } if ($4 == "08") { left++ } }
    next
}
file == "route" && FNR > 1 && $2 == "00000000" { way = 1; next }
file == "ipv6_route" && $2 == "00" && $NF != "lo" { way = 1; next }
END {
    out = counter["Tcp:OutSegs"]; again = counter["Tcp:RetransSegs"]
    if (out > 10000) tell("retransmitted", sprintf("%.2f", 100 * again / out), again " of " out " segments since boot")
    else if (out != "") tell("retransmitted", "none", "too few segments since boot: " out)
    if ("TcpExt:ListenOverflows" in counter) tell("overflows", counter["TcpExt:ListenOverflows"])
    if (interfaces) { tell("interface.errors", errors); tell("interface.drops", drops) }
    else { tell("interface.errors", "none", "only the loopback interface"); tell("interface.drops", "none", "only the loopback interface") }
    if (ports) tell("ports.used", sprintf("%.1f", 100 * (used + waiting) / ports), used " in use, " waiting " waiting, of " ports)
    if (orphans != "") tell("orphans", orphans)
    if (tcp) tell("centre.asking", asking + 0, asking ? "SYN sent, no answer yet" : ""); if (tcp) tell("centre.left", left + 0, left ? "closed by the other side, not by the agent" : "")
    tell("route", way ? "there" : "missing", way ? "" : "no default route, neither IPv4 nor IPv6")
}' "$@"
servers=0
[ ! -r "$R/etc/resolv.conf" ] || while read -r word _; do [ "$word" != nameserver ] || servers=$((servers + 1)); done <"$R/etc/resolv.conf"
say net.resolvers "$servers"
