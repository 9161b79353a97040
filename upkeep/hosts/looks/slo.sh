# How one address of the site's answers: mean and P95 in milliseconds, and the share of good answers, over a window of some seconds.
# shellcheck disable=SC2154 # the host's variables are handed over by Upkeep
command -v curl >/dev/null || { for key in mean p95 success; do say "slo.$key" '?' '' 'the host has no curl'; done && exit 0; }
window=${V_slo_window:-5}
case $window in '' | *[!0-9]* | ??? | 0) window=5 ;; esac
set --
for _ in 1 2 3 4; do set -- "$@" -o /dev/null "$V_slo_url"; done
round=0
while [ "$round" -lt "$window" ]; do
    [ "$round" = 0 ] || sleep 1
    curl -s -k --max-time 5 -w '%{http_code} %{time_total}\n' "$@" 2>/dev/null
    round=$((round + 1))
done | sort -n -k 2 | awk -v url="$V_slo_url" '
{ n++; ms[n] = 1000 * $2; sum += ms[n]; if ($1 ~ /^[23]/) good++ }
END {
    if (!n) exit
    at = int(0.95 * n + 0.999999)
    detail = n " requests to " url
    printf "slo.mean\t%.0f\t\t%s\nslo.p95\t%.0f\t\t%s\nslo.success\t%.2f\t\t%s\n", sum / n, detail, ms[at], detail, 100 * good / n, detail
}'
