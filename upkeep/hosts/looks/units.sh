# Units that failed, whichever they are, and the state of the system as a whole.
if failed=$(systemctl list-units --failed --no-legend --plain --no-pager 2>/dev/null); then
    number=0 names=''
    while read -r unit _; do
        [ -z "$unit" ] || { number=$((number + 1)) && names="$names $unit"; }
    done <<LIST
$failed
LIST
    say units.failed "$number" '' "${names# }"
else
    say units.failed '?' '' 'systemctl does not list units'
fi
