# One full, verified backup: configuration, secrets, state, the binary, and what systemd says of the unit.
# Lists hold one entry a line, fields between tabs, the name last; a line break in a name is written as \001.
# shellcheck disable=SC2015,SC2034,SC2153,SC2154 # one library in several files; in 'a && b || finish', finish is meant for both

TAB=$(printf '\t')

binary_look() {
	b_form=missing b_link='' b_target='' b_sha256=''
	if [ -L "$BINARY" ]; then
		b_form=link b_link=$(readlink -- "$BINARY")
	elif [ -f "$BINARY" ]; then
		b_form='file'
	elif [ -e "$BINARY" ]; then
		b_form=other
	fi
	[ ! -f "$BINARY" ] || { b_target=$(readlink -f -- "$BINARY") && know_hash "$b_target" && b_sha256=$known; }
}

roots_in() {
	printf '%s\n' "$2" | while IFS= read -r root; do
		[ -n "$root" ] || continue
		printf '%s\t%s\n' "$1" "$root"
		[ ! -L "$root" ] || printf '%s\t%s\n' "$1" "$(readlink -f -- "$root")"
	done
}

# What a backup looks at: kind and path, the target of a link after the link.
roots() {
	roots_in config "$CONFIG"
	roots_in config "$SECRETS"
	roots_in state "$STATE"
	roots_in binary "$b_target"
}

# $1 roots, $2 output: kind, type, mode, owner, size, mtime, inode, name.
list_tree() {
	list=$2 whole=yes
	: >"$list.raw"
	: >"$list.err"
	while IFS=$TAB read -r kind root; do
		[ -e "$root" ] || [ -L "$root" ] || continue
		set --
		for own in "$U" "$RELEASES"; do
			[ ! -d "$own" ] || [ "$kind" = binary ] || set -- "$@" -samefile "$own" -prune -o
		done
		(cd / && exec "$FIND" ".$root" "$@" -type d -printf "$kind\\t%y\\t%m\\t%U:%G\\t0\\t0\\t%i\\t%p\\0" -o \
			-printf "$kind\\t%y\\t%m\\t%U:%G\\t%s\\t%T@\\t%i\\t%p\\0") >>"$list.raw" 2>>"$list.err" || whole=no
	done <"$1"
	[ -z "$(tr -cd '\001' <"$list.raw")" ] ||
		finish backup-failed "a file name holds a control character: $(tr '\0' '\n' <"$list.raw" | grep "$(printf '\001')" | cut -f 8- | head -n 1)"
	tr '\0\n' '\n\001' <"$list.raw" | sort -t "$TAB" -k 8 -u >"$list"
	[ "$whole" = yes ]
}

only() { grep "^[a-z]*${TAB}[$1]$TAB" "$2"; }

names0() { cut -f "$1"- | tr '\n\001' '\0\n'; }

# The agent's own program, which was hashed when it was looked at, as a line of the manifest.
program_in() {
	only f "$1" | grep "^binary$TAB" | while IFS= read -r line; do
		name=$(printf '%s' "$line" | cut -f 8- | tr '\001' '\n' && echo x)
		cd / && know_hash "${name%?x}"
		[ -n "$known" ] || exit 1
		printf '%s\t%s\n' "$known" "$line"
	done
}

# A list with the SHA-256 of every file and link target before each line, and without inodes: the manifest.
manifest_of() {
	program_in "$1" >"$1.program" || return 1
	only f "$1" | grep -v "^binary$TAB" >"$1.files"
	(cd / && cut -f 8- "$1.files" | tr '\n\001' '\0\n' | xargs -0 -r sha256sum 2>>"$1.err") | sed 's/^\\//; s/ .*//' >"$1.hashes"
	[ "$(wc -l <"$1.files")" -eq "$(wc -l <"$1.hashes")" ] || return 1
	{
		paste "$1.hashes" "$1.files"
		cat "$1.program"
		only d "$1" | sed "s/^/-$TAB/"
		only l "$1" | while IFS= read -r line; do
			name=$(printf '%s' "$line" | cut -f 8- | tr '\001' '\n' && echo x)
			printf '%s\t%s\n' "$(cd / && readlink -- "${name%?x}" | digest)" "$line"
		done
	} | cut -f 1-7,9- | sort -t "$TAB" -k 8
}

tar_attributes() {
	attributes=''
	! tar --acls --xattrs -cf /dev/null -T /dev/null 2>/dev/null || attributes='--acls --xattrs'
}

# Few and small files are unpacked aside and hashed by one program.
hashes_aside() {
	[ "$(wc -l <"$3.lines")" -le 2000 ] || return 1
	bytes=0
	while IFS=$TAB read -r _ _ _ _ _ size _; do bytes=$((bytes + size)); done <"$3.lines"
	[ "$bytes" -le 33554432 ] || return 1
	cut -f 8- "$3.lines" | tr '\n\001' '\0\n' >"$3.names"
	rm -rf "$3.tree"
	(umask 077 && mkdir "$3.tree" && tar -xzf "$1" -C "$3.tree" --no-same-owner --no-same-permissions --no-recursion --null --no-unquote \
		-T "$3.names" && cd "$3.tree" && xargs -0 -r sha256sum <"$3.names") 2>>"$3.err" >"$3.sums"
	code=$?
	rm -rf "$3.tree"
	[ "$code" -eq 0 ] && sed 's/^\\//; s/ .*//' "$3.sums" >"$3.found"
}

# The hashes of the files in an archive, in its order, read from its bytes.
hashes_in() {
	hashes_aside "$@" || tar -xzf "$1" --anchored --exclude=upkeep-backup --to-command=sha256sum 2>>"$3.err" | cut -d ' ' -f 1 >"$3.found"
}

# The binary's own line is the last: it lies beside the archive, or at its end when the controller has put them together.
agrees() {
	grep "^[^$TAB]*${TAB}[ac-z][a-z]*${TAB}f$TAB" "$2" >"$3.lines"
	[ "$4" = beside ] || grep "^[^$TAB]*${TAB}binary${TAB}f$TAB" "$2" >>"$3.lines"
	cut -f 1 "$3.lines" >"$3.wanted"
	hashes_in "$@"
	cmp -s "$3.wanted" "$3.found"
}

binary_in() { sed -n "s/^\([0-9a-f]*\)${TAB}binary${TAB}f$TAB.*/\1/p" "$1"; }

# The binary lies beside the archive, as it is: it hardly compresses, and one copy serves a whole fleet's controller (docs/adr/0012).
keep_binary() {
	rm -f -- "$1/binary"
	wanted=$(binary_in "$1/upkeep-backup/manifest")
	[ -n "$wanted" ] || return 0
	copy_of "$b_target" "$1/binary" 2>>"$1/list.err" && sync "$1/binary" && know_fresh "$1/binary" && [ "$known" = "$wanted" ]
}

# One attempt, in the folder $1; fails when anything changed or vanished meanwhile.
try_backup() {
	list=$1/list
	list_tree "$1/upkeep-backup/roots" "$list"
	cp "$list" "$1/list.first"
	[ -f "$1/list.attempt" ] || cp "$list" "$1/list.attempt"
	[ "$whole" = yes ] || return 1
	manifest_of "$list" >"$1/upkeep-backup/manifest" || return 1
	only fdl "$list" | grep -v "^binary${TAB}f$TAB" | names0 8 >"$1/names"
	# shellcheck disable=SC2086 # attributes are separate words
	tar -c -S $attributes --numeric-owner --hard-dereference -I 'gzip -1' -f "$1/archive.tar.gz" -C "$1" upkeep-backup \
		-C / --no-recursion --null --no-unquote -T "$1/names" 2>>"$list.err" || return 1
	sync "$1/archive.tar.gz"
	keep_binary "$1" || return 1
	list_tree "$1/upkeep-backup/roots" "$list" && cmp -s "$1/list.first" "$list" || return 1
	agrees "$1/archive.tar.gz" "$1/upkeep-backup/manifest" "$1/check" beside
}

# What made the last attempt fail: the first name whose line differs, else what tar said.
changed_name() {
	sort "$1/list.attempt" >"$1/a"
	list_tree "$1/upkeep-backup/roots" "$list"
	sort "$list" >"$1/b"
	name=$(comm -3 "$1/a" "$1/b" 2>/dev/null | sed "s/^$TAB//" | cut -f 8- | head -n 1)
	[ -n "$name" ] || name=$(tail -n 3 "$1/list.err" | tr '\n' ' ')
	printf '%s' "${name#.}"
}

service_snapshot() {
	ctl show "$UNIT" >"$1/service.show" 2>/dev/null
	mkdir -p "$1/unit"
	sed -n 's/^FragmentPath=//p; s/^DropInPaths=//p' "$1/service.show" | tr ' ' '\n' | while IFS= read -r file; do
		[ ! -f "$file" ] || cp -p -- "$file" "$1/unit/" || return 1
	done
}

before_text() {
	say run "$RUN"
	say version "$FROM"
	say form "$b_form"
	say link "$b_link"
	say target "$b_target"
	say sha256 "$b_sha256"
	get "$1/service.show" ActiveState
	say active "$got"
	say at "$(date +%s)"
}

write_before() { text=$(before_text "$1") && put "$1/before" "$text"; }

tell_backup() {
	say path "$1"
	get "$1/upkeep-backup/before" run && say run "$got"
	for name in sha256 size_bytes files; do
		get "$1/verified" "$name" && say "$name" "$got"
	done
	get "$1/verified" binary
	[ "$got" != beside ] || say binary_sha256 "$(binary_in "$1/upkeep-backup/manifest")"
	sed -n 's/^\(skipped\|vanished\)=/&/p' "$1/verified"
}

verified_text() {
	know_hash "$1/archive.tar.gz" && say sha256 "$known"
	say size_bytes "$(size_of "$1/archive.tar.gz")"
	say files "$(wc -l <"$1/upkeep-backup/manifest" | tr -d ' ')"
	say at "$(date +%s)"
	[ ! -f "$1/binary" ] || say binary beside
	[ ! -f "$1/list" ] || only bcps "$1/list" | cut -f 8- | sed 's/^\./skipped=/'
	[ ! -s "$1/vanished" ] || sed 's/^\./vanished=/' "$1/vanished"
}

write_verified() { text=$(verified_text "$1") && put "$1/verified" "$text"; }

# Makes and compares a backup in the folder $1; a file that changes is read again, three times in all.
make_backup() {
	mkdir -p "$1/upkeep-backup" && chmod 0700 "$1" || finish failed "$1 cannot be made"
	for program in find tar; do
		case $($program --version 2>&1) in *GNU*) ;; *) finish backup-failed "GNU $program is needed on the host" ;; esac
	done
	binary_look
	[ "$b_form" != other ] || finish backup-failed "$BINARY is neither a file nor a link to one"
	tar_attributes
	service_snapshot "$1/upkeep-backup" && write_before "$1/upkeep-backup" || finish failed "the unit's snapshot cannot be written"
	roots >"$1/upkeep-backup/roots"
	attempt=1
	until try_backup "$1"; do
		[ "$attempt" -lt 3 ] || finish backup-failed "changed or could not be read in three attempts: $(changed_name "$1")"
		attempt=$((attempt + 1))
		pause
	done
	if [ "$attempt" -gt 1 ]; then
		cut -f 8- "$1/list.attempt" | sort >"$1/a"
		cut -f 8- "$1/list" | sort >"$1/b"
		comm -23 "$1/a" "$1/b" >"$1/vanished"
	fi
	chmod 0600 "$1/archive.tar.gz"
	write_verified "$1" || finish failed "$1 cannot be written"
	rm -f "$1"/list* "$1"/check* "$1"/a "$1"/b "$1"/names "$1"/vanished
}

# A finished folder takes its place; an earlier one of the same run steps aside.
place_backup() {
	[ ! -e "$2" ] || mv -f -- "$2" "$2.$(now).$$" || finish failed "$2 cannot be set aside"
	sync_tree "$1" && replace "$1" "$2" && sync "$U/backups" || finish failed "$2 cannot be written"
}

phase_back_up() {
	open_writer
	own_lock
	place=$U/backups/$RUN
	if unfinished && [ "$j_run" != "$RUN" ]; then
		tell_journal
		finish unfinished
	fi
	case $j_run:$j_state in
	"$RUN:armed" | "$RUN:switched" | "$RUN:rolling-back" | "$RUN:committed")
		# The new version may have written since: the backup from before the switch is the one that counts.
		[ -f "$place/verified" ] || finish backup-failed "the backup of this run is gone, and the host is already switched"
		;;
	*)
		rm -rf -- "$place.new"
		make_backup "$place.new"
		place_backup "$place.new" "$place"
		[ -z "$TO" ] || journal_prepared
		;;
	esac
	tell_backup "$place"
	finish ok
}

journal_prepared() {
	journal_clear
	j_run=$RUN j_fence=$FENCE j_from_version=$FROM j_to_version=$TO j_backup=$place
	case $b_form in
	link) j_from_target=$b_link ;;
	file) j_from_target=$RELEASES/$FROM_NAME-$(printf '%.8s' "$b_sha256")-adopted/${BINARY##*/} ;;
	esac
	journal_write prepared "$REASON" controller
}

phase_read_backup() {
	cat "$U/backups/$RUN/archive.tar.gz"
}

phase_read_binary() {
	cat "$U/backups/$RUN/binary"
}

# The controller's archive becomes the backup of the run it was taken in; read back and compared like a fresh one.
phase_restore_from() {
	open_writer
	own_lock
	fresh=$U/backups/restored.new
	rm -rf -- "$fresh"
	mkdir -p "$fresh" && chmod 0700 "$fresh" && cat >"$fresh/archive.tar.gz" || finish failed "$fresh cannot be written"
	tar -xzf "$fresh/archive.tar.gz" -C "$fresh" --no-same-owner upkeep-backup 2>/dev/null || finish backup-damaged "the archive is not a whole backup of Upkeep's"
	get "$fresh/upkeep-backup/before" run
	run=$got
	case $run in '' | .* | *[!A-Za-z0-9._-]*) finish backup-damaged "the archive does not say which run it is of" ;; esac
	agrees "$fresh/archive.tar.gz" "$fresh/upkeep-backup/manifest" "$fresh/check" inside || finish backup-damaged "the archive does not compare with its manifest"
	write_verified "$fresh" || finish failed "$fresh cannot be written"
	rm -f "$fresh"/check*
	place=$U/backups/$run
	for kept in journal restored restarted candidate; do
		[ ! -f "$place/$kept" ] || cp -p "$place/$kept" "$fresh/"
	done
	place_backup "$fresh" "$place"
	[ "$j_state" != none ] || journal_from_backup
	tell_backup "$place"
	finish ok
}

# Journal and on-host copies are both gone: what runs now counts as the change that the archive was taken before.
journal_from_backup() {
	journal_clear
	binary_look
	j_run=$run j_fence=$FENCE j_to_target=$b_link j_backup=$place
	get "$place/upkeep-backup/before" version && j_from_version=$got
	get "$place/upkeep-backup/before" link && j_from_target=$got
	journal_write committed "the journal was gone; rebuilt from the controller's backup" controller
}
