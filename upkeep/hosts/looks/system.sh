# What the host is, and whether it waits for something.
if [ -r "$R/etc/os-release" ]; then
    while IFS='=' read -r key value; do
        value=${value#\"} value=${value%\"}
        case $key in ID) id=$value ;; VERSION_ID) version=$value ;; esac
    done <"$R/etc/os-release"
    say system.os "${id:-?} ${version-}"
fi
[ ! -r "$R/proc/sys/kernel/osrelease" ] || { read -r release <"$R/proc/sys/kernel/osrelease" && say system.kernel "$release"; }
[ ! -r "$R/etc/machine-id" ] || { read -r id <"$R/etc/machine-id" && say system.id "${id:-?}"; }
if [ -e "$R/run/reboot-required" ] || [ -e "$R/var/run/reboot-required" ]; then
    say system.reboot wanted '' "$(cat "$R/run/reboot-required.pkgs" 2>/dev/null | head -n 5 | tr '\n' ' ')"
else
    say system.reboot 'not wanted'
fi
zone=$(readlink "$R/etc/localtime") || zone=UTC
say system.timezone "${zone##*zoneinfo/}"
if [ -w "$R/tmp" ]; then say system.tmp writable; else say system.tmp 'not writable'; fi
