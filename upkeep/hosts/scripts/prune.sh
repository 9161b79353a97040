# Old releases and backups go; what runs, what the journal may go back to, and the newest verified backup never do.
# shellcheck disable=SC2015,SC2034,SC2153,SC2154 # one library in several files; in 'a && b || finish', finish is meant for both

in_use() {
	for path in "$(readlink -f -- "$BINARY")" "$j_from_target" "$j_to_target" "$(readlink -f -- "$j_from_target")"; do
		case $path in "$1"/*) return 0 ;; esac
	done
	for record in "$U"/backups/*/upkeep-backup/before; do
		get "$record" target
		case $got in "$1"/*) return 0 ;; esac
	done
	return 1
}

# $1 folder, $2 what marks its members as Upkeep's own; newest first.
newest_first() {
	find "$1" -mindepth 1 -maxdepth 1 -type d -printf '%T@ %p\n' | sort -rn | cut -d ' ' -f 2- | while IFS= read -r place; do
		[ ! -f "$place/$2" ] || printf '%s\n' "$place"
	done
}

prune_backups() {
	kept=0
	newest_first "$U/backups" verified | while IFS= read -r place; do
		kept=$((kept + 1))
		if [ "$kept" -le "$KEEP" ] || [ "$kept" -eq 1 ] || [ "$place" = "$j_backup" ]; then continue; fi
		rm -rf -- "$place" && say removed "$place"
	done
}

prune_releases() {
	kept=0
	newest_first "$RELEASES" .upkeep-release | while IFS= read -r place; do
		! in_use "$place" || continue
		kept=$((kept + 1))
		[ "$kept" -gt "$KEEP" ] || continue
		rm -rf -- "$place" && say removed "$place"
	done
}

phase_prune() {
	open_writer
	if unfinished; then
		tell_journal
		finish unfinished
	fi
	[ -e "$BINARY" ] || finish failed "$BINARY leads nowhere: nothing is removed"
	prune_backups
	prune_releases
	find "$U/incoming" -type f \( -name '*.part' -o -name '*.tar.gz' \) -mtime +7 -exec rm -f {} +
	finish ok
}
