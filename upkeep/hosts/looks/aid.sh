# What a failed install or backup may have suffered from, measured: writing eight MiB where Upkeep works, removed at once.
# shellcheck disable=SC2154 # the folder is handed over by Upkeep
ionice -c 2 -p $$ >/dev/null 2>&1 # an install does not write at low priority
folder=$V_upkeep_folder
while [ ! -d "$folder" ] && [ -n "$folder" ]; do folder=${folder%/*}; done
file=${folder:-}/.upkeep-speed.$$
trap 'rm -f "$file"' EXIT
began=$(date +%s%N)
said=$(LC_ALL=C timeout 8 dd if=/dev/zero of="$file" bs=1048576 count=8 conv=fsync 2>&1)
code=$?
ended=$(date +%s%N)
said=$(printf '%s' "$said" | head -n 1 | tr '\t' ' ')
if [ "$code" = 0 ] && [ "$ended" -gt "$began" ]; then
    tenths=$((8 * 10000000000 / (ended - began)))
    say aid.disk_write "$((tenths / 10)).$((tenths % 10))" '' "8 MiB to ${folder:-/}"
    say aid.disk_takes yes '' "${folder:-/}"
elif [ "$code" = 124 ]; then
    say aid.disk_write 0.9 '' "8 MiB to ${folder:-/} took more than 8 s"
    say aid.disk_takes yes '' "${folder:-/}"
else
    say aid.disk_takes no '' "$said"
fi
