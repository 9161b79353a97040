# Putting back what a backup holds; safe to repeat, and safe to be cut anywhere and begun again.
# shellcheck disable=SC2015,SC2034,SC2153,SC2154 # one library in several files; in 'a && b || finish', finish is meant for both

# $1 how files are hashed: know_hash before the switch, know_anew on the way back.
archive_intact() {
	[ -n "$j_backup" ] && [ -f "$j_backup/verified" ] && "$1" "$j_backup/archive.tar.gz" && same "$j_backup/verified" sha256 "$known"
}

binary_intact() {
	! same "$j_backup/verified" binary beside || { "$1" "$j_backup/binary" && take_program "$j_backup" && [ "$known" = "$program" ]; }
}

know_anew() { take_hash "$1" && known=$sum_of; }

# The backup holds what the way back needs; the old binary may also lie where it was.
backup_serves() {
	before=$j_backup/upkeep-backup/before
	archive_intact know_anew || return 1
	get "$before" target
	target=$got
	get "$before" sha256
	for place in "$j_from_target" "$target"; do
		! whole "$place" "$got" || return 0
	done
	binary_intact know_anew
}

# Fields that must be the same afterwards: hash, type, mode, owner, name.
essence() { cut -f 1,3-5,8- | sort; }

key() { cut -f 2,5- | sort; }

# $1 kinds as a pattern; what there is now, in the form of the manifest.
present() {
	list=$work/list
	grep "^\($1\)$TAB" "$j_backup/upkeep-backup/roots" >"$work/roots"
	list_tree "$work/roots" "$list" && manifest_of "$list"
}

# A file or folder the new version made (or made into something else) is moved aside, not deleted.
move_aside() {
	aside=$j_backup/left${1#.}
	mkdir -p -- "${aside%/*}" || return 1
	[ ! -e "$aside" ] && [ ! -L "$aside" ] || aside=$aside.$(now)
	mv -f -- "/$1" "$aside"
}

move_extra_aside() {
	while IFS= read -r line; do
		name=$(printf '%s' "$line" | cut -f 2- | tr '\001' '\n' && echo x)
		name=${name%?x}
		[ ! -e "/$name" ] && [ ! -L "/$name" ] || move_aside "$name" || return 1
	done
}

# $1 kinds as a pattern: config, or config\|state.
restore_files() {
	work=$j_backup/work
	rm -rf "$work"
	mkdir -p "$work" || return 1
	tar_attributes
	grep "^[^$TAB]*$TAB\($1\)$TAB" "$j_backup/upkeep-backup/manifest" | essence >"$work/wanted"
	present "$1" | essence >"$work/found"
	key <"$work/wanted" >"$work/wanted.keys"
	key <"$work/found" >"$work/found.keys"
	comm -13 "$work/wanted.keys" "$work/found.keys" | move_extra_aside || return 1
	comm -23 "$work/wanted" "$work/found" | sort -t "$TAB" -k 5 | cut -f 5- | tr '\n\001' '\0\n' >"$work/names"
	if [ -s "$work/names" ]; then
		mkdir -p "$j_backup/left"
		tar -cz --ignore-failed-read -f "$j_backup/left/replaced.$(now).tar.gz" -C / --no-recursion --null --no-unquote -T "$work/names" 2>/dev/null
		unpack_names || return 1
	fi
	present "$1" | essence >"$work/found"
	cmp -s "$work/wanted" "$work/found" || return 1
	rm -rf "$work"
}

unpack_names() {
	set --
	[ "$(id -u)" != 0 ] || set -- --xattrs-include='*'
	[ -n "$attributes" ] || set --
	# shellcheck disable=SC2086 # attributes are separate words
	tar -xzp $attributes "$@" --numeric-owner --no-recursion -f "$j_backup/archive.tar.gz" -C / --null --no-unquote -T "$work/names" 2>"$work/tar.err"
}

# The binary of the backup under a new name, with mode and owner as they were.
take_out() {
	if same "$j_backup/verified" binary beside; then
		whole "$j_backup/binary" "$sha256" && mkdir -p "${2%/*}" && put_copy "$j_backup/binary" "$2"
		return
	fi
	rm -rf "$j_backup/taken" && mkdir -p "$j_backup/taken" "${2%/*}" || return 1
	printf '.%s\0' "$1" | tar -xzp --numeric-owner -f "$j_backup/archive.tar.gz" -C "$j_backup/taken" --null --no-unquote -T - 2>/dev/null || return 1
	put_file "$j_backup/taken$1" "$2"
	done_taking=$?
	rm -rf "$j_backup/taken"
	return "$done_taking"
}

# What a switch left that was cut while it made a copy.
clear_cut_copies() {
	for place in "$BINARY" "$j_from_target"; do
		[ -z "$place" ] || rm -f -- "$place.upkeep-new"
	done
}

# The binary in the very form it had: link, plain file, or nothing.
restore_binary() {
	before=$j_backup/upkeep-backup/before
	if [ -f "$before" ]; then
		get "$before" form && form=$got
		get "$before" link && link=$got
		get "$before" target && target=$got
		get "$before" sha256 && sha256=$got
	else
		form=link link=$j_from_target target=$j_from_target sha256=''
		case $j_from_target in '') form='missing' ;; *-adopted/*) form='file' ;; esac
	fi
	clear_cut_copies
	case $form in
	link)
		whole "$target" "$sha256" || take_out "$target" "$target" || return 1
		[ "$(readlink -- "$BINARY")" = "$link" ] || put_link "$link" "$BINARY"
		;;
	file)
		[ -L "$BINARY" ] || ! whole "$BINARY" "$sha256" || return 0
		if whole "$j_from_target" "$sha256"; then put_file "$j_from_target" "$BINARY"; else take_out "$target" "$BINARY"; fi
		;;
	missing)
		[ ! -e "$BINARY" ] && [ ! -L "$BINARY" ] || rm -f -- "$BINARY"
		;;
	esac
}

whole() { [ -f "$1" ] && { [ -z "$2" ] || take_hash "$1" && [ "$sum_of" = "$2" ]; }; }
