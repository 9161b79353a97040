# Every local file system that is really stored somewhere, once: room, inodes, and whether it may still be written.
# mountinfo tells a file system that cannot be written from a place that is only shown read-only, as containers have many.
mounts='' fstab=''
for file in "$R/proc/self/mountinfo" "$R/proc/mounts"; do [ ! -r "$file" ] || { mounts=$file && break; }; done
[ ! -r "$R/etc/fstab" ] || fstab=$R/etc/fstab
{
    echo room
    df -PkTl 2>/dev/null || df -PkT 2>/dev/null
    echo inodes
    df -PiTl 2>/dev/null || df -PiT 2>/dev/null
    echo mounts
} | awk '
FILENAME ~ /fstab$/ { if ($1 !~ /^#/ && $4 ~ /(^|,)ro(,|$)/) meant[$2] = 1; next }
NF == 1 && /^(room|inodes|mounts)$/ { part = $1; next }
part != "mounts" && ($1 == "Filesystem" || $2 ~ /^(tmpfs|devtmpfs|squashfs|iso9660|ramfs|efivarfs|nsfs|fuse\..*|nfs.*|cifs)$/ || seen[part $1 $3 $4]++) { next }
part == "room" { if ($4 + $5 > 0) printf "disk.used\t%.1f\t%s\t%d MiB free on %s\n", 100 * $4 / ($4 + $5), $7, $5 / 1024, $1 }
part == "inodes" && $3 > 0 { printf "inodes.used\t%.1f\t%s\t%d inodes free on %s\n", 100 * $4 / ($4 + $5), $7, $5, $1 }
part == "inodes" && $3 == 0 { printf "inodes.used\tnone\t%s\tthis file system does not count inodes\n", $7 }
part == "mounts" && FILENAME ~ /mount(s|info)$/ { listed = 1; device = $1; point = $2; type = $3; options = $4; part_of = 0 }
part == "mounts" && FILENAME ~ /mountinfo$/ {
    for (i = 7; $i != "-"; i++) ;
    device = $(i + 2); point = $5; type = $(i + 1); options = $(i + 3); part_of = $4 != "/" && type != "btrfs"
}
part == "mounts" && device ~ /^\/dev\// && type ~ /^(ext[234]|xfs|btrfs|f2fs)$/ && !part_of && !mounted[device]++ {
    # Linux 6.15 and newer leave "rw" there when an error turns ext4 read-only.
    lost = options ~ /^ro(,|$)|,(emergency_ro|shutdown)(,|$)/
    if (lost && point in meant) printf "disk.writable\tnone\t%s\t/etc/fstab wants it read-only\n", point
    else printf "disk.writable\t%s\t%s\t%s\n", lost ? "read-only" : "writable", point, device
    found = 1
}
END { if (listed && !found) print "disk.writable\tnone\t\tno disk of its own is mounted" }' ${fstab:+"$fstab"} - ${mounts:+"$mounts"}
