# Every local file system that is really stored somewhere, once: room, inodes, and whether it may still be written.
# shellcheck disable=SC2016
only_real='$2 !~ /^(tmpfs|devtmpfs|squashfs|iso9660|ramfs|efivarfs|nsfs|fuse\..*|nfs.*|cifs)$/ && NR > 1 && !seen[$1 $3 $4]++'
listing=$(df -PkTl 2>/dev/null || df -PkT 2>/dev/null) && printf '%s\n' "$listing" | awk "$only_real"' {
    used = $4; free = $5; if (used + free > 0) printf "disk.used\t%.1f\t%s\t%d MiB free on %s\n", 100 * used / (used + free), $7, free / 1024, $1
}'
listing=$(df -PiTl 2>/dev/null || df -PiT 2>/dev/null) && printf '%s\n' "$listing" | awk "$only_real"' {
    if ($3 > 0) printf "inodes.used\t%.1f\t%s\t%d inodes free on %s\n", 100 * $4 / $3, $7, $5, $1
    else printf "inodes.used\tnone\t%s\tthis file system does not count inodes\n", $7
}'
[ ! -r "$R/proc/mounts" ] || awk '
$1 ~ /^\/dev\// && $3 ~ /^(ext[234]|xfs|btrfs|f2fs)$/ && !seen[$1]++ {
    split($4, options, ","); printf "disk.writable\t%s\t%s\t%s\n", options[1] == "ro" ? "read-only" : "writable", $2, $1; found = 1
}
END { if (!found) print "disk.writable\tnone\t\tno disk of its own is mounted" }' "$R/proc/mounts"
