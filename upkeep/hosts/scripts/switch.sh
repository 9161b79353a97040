# From the old version to the new with one rename(2), and back.
# shellcheck disable=SC2015,SC2034,SC2153,SC2154 # one library in several files; in 'a && b || finish', finish is meant for both

# What runs is still what was backed up.
undrifted() {
	binary_look
	before=$j_backup/upkeep-backup/before
	same "$before" form "$b_form" && same "$before" link "$b_link" && same "$before" sha256 "$b_sha256"
}

# A plain file gets a second name among the releases, so that it can be put back exactly.
adopt() {
	[ "$b_form" = file ] || return 0
	take_hash "$j_from_target"
	[ "$sum_of" != "$b_sha256" ] || return 0
	mkdir -p "${j_from_target%/*}" && put_file "$BINARY" "$j_from_target" "$RELEASES" &&
		{ say archive '' && say member "${BINARY##*/}" && say sha256 "$b_sha256"; } >"${j_from_target%/*}/.upkeep-release" ||
		finish failed "the old binary cannot be kept aside in $RELEASES"
}

# Room for the journal and the restored configuration, should the new version fill the disk.
reserve_room() {
	[ ! -d "$U/reserve" ] || return 0
	mkdir "$U/reserve" && dd if=/dev/zero of="$U/reserve/bytes" bs=65536 count=32 2>/dev/null && sync "$U/reserve/bytes" || return 1
	inode=0
	while [ "$inode" -lt 64 ]; do
		true >"$U/reserve/inode.$inode" || return 1
		inode=$((inode + 1))
	done
}

free_room() { rm -rf "$U/reserve"; }

switch_link() {
	if [ "$(readlink -- "$BINARY")" = "$j_to_target" ]; then
		journal_write switched "$REASON" controller
		guard_arm
		return
	fi
	undrifted || finish drifted "$BINARY was changed by hand since it was backed up"
	adopt
	for mark in restored restarted with-state; do clear_name "$j_backup/$mark"; done
	journal_write armed "$REASON" controller
	guard_arm
	journal_write switched "$REASON" controller
	put_link "$j_to_target" "$BINARY" && sync_tree "${BINARY%/*}" || finish failed "$BINARY cannot be switched"
}

phase_switch() {
	open_writer
	own_lock
	[ "$j_run" = "$RUN" ] || finish not-staged
	case $j_state in
	staged | armed | switched) ;;
	*) tell_journal && finish "not-staged" ;;
	esac
	same "$j_backup/candidate" target "$j_to_target" && [ -n "$j_to_target" ] && know_hash "$j_to_target" &&
		same "$j_backup/candidate" sha256 "$known" || finish mismatch "the unpacked binary is not the one that was checked"
	archive_intact know_hash && binary_intact know_hash || finish backup-damaged "the backup on the host is gone or changed"
	j_fence=$FENCE j_guard_deadline=$(($(date +%s) + DEAD_MAN))
	if ! reserve_room; then
		free_room
		finish failed "no room in $U: 2 MiB and 64 inodes are kept for the way back"
	fi
	switch_link
	[ ! -e "$j_backup/restarted" ] || take_state
	if [ ! -e "$j_backup/restarted" ] || [ "$state_now" != active ]; then
		service_restart || finish not-started "$(service_evidence)"
		put "$j_backup/restarted" yes || finish failed "$j_backup cannot be written"
	fi
	finish ok
}

phase_commit() {
	open_writer
	case $j_run:$j_state in
	"$RUN:switched" | "$RUN:committed") ;;
	*) tell_journal && finish not-switched ;;
	esac
	own_lock
	[ "$(readlink -- "$BINARY")" = "$j_to_target" ] && know_hash "$j_to_target" && same "$j_backup/candidate" sha256 "$known" ||
		finish drifted "$BINARY is not the new version any more"
	j_guard_deadline=0 j_fence=$FENCE
	[ "$j_state" = committed ] || journal_write committed "$REASON" controller
	guard_disarm
	name_parcel
	rm -rf -- "$U/reserve" "$parcel"
	tell_journal
	finish ok
}

# $1 actor, $2 reason, $3 how: boot lets systemd start the agent afterwards, which waits for this very script.
undo() {
	note=''
	if [ ! -e "$j_backup/restored" ]; then
		if ! backup_serves; then
			[ "$1" = guard ] || finish backup-damaged "the backup on the host is gone or changed"
			note='; the configuration was not restored: the backup on the host is gone or changed'
		fi
		if ! journal_try rolling-back "$2" "$1"; then
			# A disk the new version has filled: it must end before the room kept for this is given free.
			[ "$3" = boot ] || service_stop
			free_room
			journal_write rolling-back "$2" "$1"
		fi
		[ "$3" = boot ] || service_stop
		free_room
		[ "$WITH_STATE" = no ] || [ ! -d "$j_backup" ] || put "$j_backup/with-state" yes || finish failed "$j_backup cannot be written"
		[ -n "$note" ] || restore_files "$(kinds_to_restore)" || finish failed "configuration or state cannot be restored"
		restore_binary || finish failed "the old binary cannot be restored"
		sync_restored
		[ ! -d "$j_backup" ] || put "$j_backup/restored" yes || finish failed "$j_backup cannot be written"
	fi
	undo_service "$1" "$2$note" "$3"
	j_guard_deadline=0
	journal_write rolled-back "$2$note" "$1"
}

kinds_to_restore() {
	if [ "$WITH_STATE" = yes ] || [ -e "$j_backup/with-state" ]; then echo 'config\|state'; else echo config; fi
}

sync_restored() {
	sync_tree "${BINARY%/*}"
	[ ! -f "$j_backup/upkeep-backup/roots" ] || cut -f 2 "$j_backup/upkeep-backup/roots" | while IFS= read -r root; do
		[ ! -e "$root" ] || sync_tree "$root"
	done
}

# The service is left as it was before the change: running, or not.
undo_service() {
	get "$j_backup/upkeep-backup/before" active
	was=$got
	case $was:$3 in
	inactive:*) ;;
	*:boot) ctl_logged --no-block start "$UNIT" ;;
	failed:*) service_restart ;;
	*)
		service_restart && return
		evidence=$(service_evidence)
		journal_write rolling-back "$2; the old version does not start: $evidence" "$1"
		finish not-started "$evidence"
		;;
	esac
}

# The change to undo: the journal's own, or an earlier run's if the host has not moved on since.
find_change() {
	[ -n "$OF_RUN" ] && [ "$j_run" != "$OF_RUN" ] || return 0
	if unfinished; then
		tell_journal
		finish unfinished
	fi
	journal_read "$U/backups/$OF_RUN/journal" || finish nothing "no change of run $OF_RUN is recorded on this host"
	[ "$j_state" != committed ] || [ "$(readlink -- "$BINARY")" = "$j_to_target" ] || finish moved-on "this host no longer runs what run $OF_RUN installed"
}

phase_roll_back() {
	open_writer
	find_change
	case $j_state in
	rolled-back)
		guard_disarm
		tell_journal
		finish ok
		;;
	none) finish nothing "no change is recorded on this host" ;;
	esac
	own_lock
	j_fence=$FENCE
	case $j_state in
	prepared | staged)
		clear_cut_copies
		journal_write rolled-back "$WHY (nothing was switched)" controller
		;;
	*)
		undo controller "$WHY" wait
		guard_disarm
		;;
	esac
	tell_journal
	finish ok
}
