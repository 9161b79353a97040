# What the processors did during one second.
sample() { sed -n 's/^cpu  *//p;1q' "$R/proc/stat"; }
before=$(sample) && [ -n "$before" ] || exit 0
sleep 1
printf '%s\n%s\n' "$before" "$(sample)" | awk '
{ for (i = 1; i <= 8; i++) { now[i] = $i - before[i]; before[i] = $i } }
END {
    for (i = 1; i <= 8; i++) total += now[i]
    if (total <= 0) exit
    printf "cpu.busy\t%.1f\t\t\n", 100 * (total - now[4] - now[5]) / total
    printf "cpu.iowait\t%.1f\t\t\n", 100 * now[5] / total
    printf "cpu.steal\t%.1f\t\t\n", 100 * now[8] / total
}'
