#!/bin/sh
# One machine while it is on: its disk and its root filesystem in a mount namespace of its own, then the command given
# (systemd-nspawn), again after each reboot, which it tells by ending with 133. With this process everything mounted is gone.
# From the environment: CGROUPS IMAGE DISK ROOT NAME LOWER
set -u

for cgroup in $CGROUPS; do
	echo $$ >"$cgroup/cgroup.procs" || exit 96
done
tries=0
while [ -n "$(losetup -j "$IMAGE")" ] && [ "$tries" -lt 100 ]; do # after a power cut the kernel lets go of it in its own time
	tries=$((tries + 1))
	sleep 0.2
done
e2fsck -p "$IMAGE" >/dev/null 2>&1
tries=0
until mount -o loop,errors=remount-ro "$IMAGE" "$DISK"; do # loop devices are handed out in a race with other machines
	tries=$((tries + 1))
	[ "$tries" -lt 40 ] || exit 97
	sleep 0.3
done
mkdir -p "$DISK/upper" "$DISK/work"
mount -t overlay "$NAME" -o "lowerdir=$LOWER,upperdir=$DISK/upper,workdir=$DISK/work" "$ROOT" || exit 98
while :; do
	setpriv --pdeathsig KILL "$@"
	ended=$?
	[ "$ended" = 133 ] || break
	for cgroup in $CGROUPS; do
		find "$cgroup" -mindepth 1 -depth -type d -exec rmdir {} + 2>/dev/null
	done
done
echo "supervisor: systemd-nspawn ended with $ended"
exit "$ended"
