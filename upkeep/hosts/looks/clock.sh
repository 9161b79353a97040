# Is the clock kept right by somebody? A container has its host's clock.
if [ -e "$R/run/systemd/container" ] || [ -e "$R/.dockerenv" ] || [ -e "$R/run/.containerenv" ]; then
    say clock.synchronised none '' "a container has its host's clock"
elif [ -e "$R/run/systemd/timesync/synchronized" ]; then
    say clock.synchronised yes '' systemd-timesyncd
elif command -v chronyc >/dev/null && leap=$(chronyc -n tracking 2>/dev/null); then
    case $leap in *"Leap status     : Normal"*) say clock.synchronised yes '' chrony ;; *) say clock.synchronised no '' 'chrony has no source' ;; esac
elif command -v timedatectl >/dev/null && said=$(timedatectl show -p NTPSynchronized --value 2>/dev/null) && [ -n "$said" ]; then
    say clock.synchronised "$said" '' timedatectl
elif [ ! -d "$R/run/systemd/system" ]; then
    say clock.synchronised none '' 'neither systemd nor chrony runs here: upkeep compares the clock itself (host.clock.skew)'
else
    say clock.synchronised '?' '' 'neither chrony nor timedatectl tells'
fi
