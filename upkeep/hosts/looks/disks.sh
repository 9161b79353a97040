# Every local file system that is really stored somewhere, once: room, inodes, and whether it may still be written.
mounts=''
[ ! -r "$R/proc/mounts" ] || mounts=$R/proc/mounts
{
    echo room
    df -PkTl 2>/dev/null || df -PkT 2>/dev/null
    echo inodes
    df -PiTl 2>/dev/null || df -PiT 2>/dev/null
    echo mounts
} | awk '
NF == 1 && /^(room|inodes|mounts)$/ { part = $1; next }
part != "mounts" && ($1 == "Filesystem" || $2 ~ /^(tmpfs|devtmpfs|squashfs|iso9660|ramfs|efivarfs|nsfs|fuse\..*|nfs.*|cifs)$/ || seen[part $1 $3 $4]++) { next }
part == "room" { if ($4 + $5 > 0) printf "disk.used\t%.1f\t%s\t%d MiB free on %s\n", 100 * $4 / ($4 + $5), $7, $5 / 1024, $1 }
part == "inodes" && $3 > 0 { printf "inodes.used\t%.1f\t%s\t%d inodes free on %s\n", 100 * $4 / $3, $7, $5, $1 }
part == "inodes" && $3 == 0 { printf "inodes.used\tnone\t%s\tthis file system does not count inodes\n", $7 }
part == "mounts" && FILENAME ~ /mounts$/ { listed = 1 }
part == "mounts" && $1 ~ /^\/dev\// && $3 ~ /^(ext[234]|xfs|btrfs|f2fs)$/ && !mounted[$1]++ {
    split($4, options, ","); printf "disk.writable\t%s\t%s\t%s\n", options[1] == "ro" ? "read-only" : "writable", $2, $1; found = 1
}
END { if (listed && !found) print "disk.writable\tnone\t\tno disk of its own is mounted" }' - ${mounts:+"$mounts"}
