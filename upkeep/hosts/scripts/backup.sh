# One full, verified backup: configuration, secrets, state, the binary, and what systemd says of the unit.
# Lists hold one entry a line, fields between tabs, the name last; a line break in a name is written as \001.
# shellcheck disable=SC2015,SC2034,SC2153,SC2154 # one library in several files; in 'a && b || finish', finish is meant for both

TAB='	'

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
	while IFS= read -r root; do
		[ -n "$root" ] || continue
		printf '%s\t%s\n' "$1" "$root"
		[ ! -L "$root" ] || printf '%s\t%s\n' "$1" "$(readlink -f -- "$root")"
	done <<.
$2
.
}

# What a backup looks at: kind and path, the target of a link after the link.
roots() {
	roots_in config "$CONFIG"
	roots_in config "$SECRETS"
	roots_in state "$STATE"
	roots_in binary "$b_target"
}

# $1 roots, $2 output: what find sees of them in $2.raw, each entry as in a list and ended by a NUL. Fails where something cannot be read.
# What lies below two roots is of the first one's kind.
look_at_tree() {
	whole=yes tree=$2 odd=$(printf '\001')
	for its_part in raw err odd; do : >"$tree.$its_part"; done
	cd /
	set -- "$1"
	while IFS=$TAB read -r kind root; do
		{ [ ! -e "$root" ] && [ ! -L "$root" ]; } || set -- "$@" ".$root"
	done <"$1"
	[ $# -gt 1 ] || return 0
	for own in "$U" "$RELEASES"; do
		[ ! -d "$own" ] || set -- "$@" -samefile "$own" -prune -o
	done
	set -- "$@" -name "*$odd*" -fprintf "$tree.odd" '%p\n' -o '('
	while IFS=$TAB read -r kind root; do
		take_pattern ".$root"
		set -- "$@" '(' -path "$pattern" -o -path "$pattern/*" ')' -printf "$kind" -o
	done <"$1"
	shift
	"$FIND" "$@" -false ')' '(' -type d -printf '\t%y\t%m\t%U:%G\t0\t0\t%i\t%p\0' -o -printf '\t%y\t%m\t%U:%G\t%s\t%T@\t%i\t%p\0' ')' \
		>"$tree.raw" 2>"$tree.err" || whole=no
	[ ! -s "$tree.odd" ] || finish backup-failed "a file name holds a control character: $(head -n 1 "$tree.odd")"
	[ "$whole" = yes ]
}

# A path as a pattern of find's that matches it alone is $pattern.
take_pattern() {
	pattern='' rest=$1
	while :; do
		case $rest in
		*[][*?\\]*)
			plain=${rest%%[][*?\\]*}
			rest=${rest#"$plain"}
			pattern=$pattern$plain\\${rest%"${rest#?}"}
			rest=${rest#?}
			;;
		*)
			pattern=$pattern$rest
			return
			;;
		esac
	done
}

# The same, sorted, in $2: kind, type, mode, owner, size, mtime, inode, name.
list_tree() {
	list=$2
	look_at_tree "$@"
	tr '\0\n' '\n\001' <"$list.raw" | sort -t "$TAB" -k 8 -u >"$list"
	[ "$whole" = yes ]
}

# What a list holds, by kind: names of files, of all that goes into an archive, of links, of what cannot be kept.
sort_out() {
	for its_part in files names links skipped program; do : >"$1.$its_part"; done
	LISTED=$1 awk -F '\t' '
	{
		start = 8
		for (i = 1; i <= 7; i++) start += length($i)
		name = substr($0, start)
	}
	$1 == "binary" && $2 == "f" { print name >(ENVIRON["LISTED"] ".program"); next }
	$2 ~ /^[fdl]$/ { print name >(ENVIRON["LISTED"] ".names") }
	$2 == "f" { print name >(ENVIRON["LISTED"] ".files") }
	$2 == "l" { print name >(ENVIRON["LISTED"] ".links") }
	$2 ~ /^[bcps]$/ { print "skipped=" substr(name, 2) >(ENVIRON["LISTED"] ".skipped") }
	' "$1"
}

# A list of names as programs take it, each ended by a NUL.
ended() { tr '\n\001' '\0\n' <"$1"; }

# The SHA-256 of every link's target, in the order of the list.
hash_links() {
	: >"$1.targets"
	[ -s "$1.links" ] || return 0
	rm -rf "$1.ends" && mkdir "$1.ends" || return 1
	link_number=1000000000 odd=$(printf '\001')
	while IFS= read -r name; do
		case $name in *"$odd"*) name=$(printf '%s' "$name" | tr '\001' '\n' && echo x) name=${name%x} ;; esac
		readlink -- "$name" >"$1.ends/$link_number" || return 1
		link_number=$((link_number + 1))
	done <"$1.links"
	printf '%s\0' "$1.ends"/* | xargs -0 sha256sum >"$1.targets" && rm -rf "$1.ends"
}

# The manifest of a list: the SHA-256 of every file and link target before each line, and no inodes. The agent's own program was hashed
# when it was looked at: $program.
manifest_of() {
	cd /
	program=''
	sort_out "$1" && hash_links "$1" || return 1
	if [ -s "$1.program" ]; then
		know_hash "$b_target"
		program=$known
		[ -n "$program" ] || return 1
	fi
	ended "$1.files" | xargs -0 -r sha256sum >"$1.hashes" 2>>"$1.err"
	awk -F '\t' -v program="$program" '
	part == "hashes" { sub(/^\\/, ""); hash[++files] = substr($0, 1, 64); next }
	part == "targets" { sub(/^\\/, ""); target[++links] = substr($0, 1, 64); next }
	$2 !~ /^[fdl]$/ { next }
	{
		start = 8
		for (i = 1; i <= 7; i++) start += length($i)
		sum = "-"
		if ($2 == "l") sum = target[++links_told]
		if ($2 == "f") sum = $1 == "binary" ? program : hash[++files_told]
		if (sum == "") exit 1
		print sum "\t" $1 "\t" $2 "\t" $3 "\t" $4 "\t" $5 "\t" $6 "\t" substr($0, start)
	}
	END { if (files_told + 0 != files + 0 || links_told + 0 != links + 0) exit 1 }
	' part=hashes "$1.hashes" part=targets "$1.targets" part=list "$1"
}

tar_attributes() {
	attributes=''
	! tar --acls --xattrs -cf /dev/null -T /dev/null 2>/dev/null || attributes='--acls --xattrs'
}

# What an archive has to hold by its manifest $1, in $2.…: names, hashes, and of them all: entries, files, bytes, whether a name is odd.
take_wanted() {
	for its_part in inside wanted sums; do : >"$2.$its_part"; done
	LISTED=$2 awk -F '\t' -v binary="$3" '
	function want(line) {
		start = 8
		for (i = 1; i <= 7; i++) start += length(field[i])
		name = substr(line, start)
		files++
		bytes += field[6]
		if (name ~ /[\\\001\r]/) odd = 1
		print name >(ENVIRON["LISTED"] ".inside")
		print field[1] >(ENVIRON["LISTED"] ".wanted")
		print field[1] "  " name >(ENVIRON["LISTED"] ".sums")
	}
	$3 != "f" { next }
	$2 == "binary" { last[++binaries] = $0; next }
	{ split($0, field, "\t"); want($0) }
	END {
		if (binary == "inside") for (b = 1; b <= binaries; b++) { split(last[b], field, "\t"); want(last[b]) }
		printf "%d %d %.0f %d\n", NR, files, bytes, odd
	}' "$1" >"$2.totals" && read -r entries files bytes odd <"$2.totals"
}

# Few and small files are unpacked aside and hashed by one program.
agrees_aside() {
	{ [ ! -e "$3.tree" ] || rm -rf "$3.tree"; } && mkdir -m 0700 "$3.tree" || return 1
	ended "$3.inside" >"$3.names"
	tar -xzf "$1" -C "$3.tree" --no-same-owner --no-same-permissions --no-recursion --null --no-unquote -T "$3.names" 2>>"$3.err" || return 1
	if [ "$odd" = 0 ]; then
		checked=$(cd "$3.tree" && sha256sum -c "$3.sums" 2>>"$3.err") && count_lines "$checked" && [ "$lines" -eq "$files" ]
	else
		(cd "$3.tree" && xargs -0 -r sha256sum <"$3.names") 2>>"$3.err" | sed 's/^\\//; s/ .*//' | cmp -s "$3.wanted" -
	fi
}

# The lines of a text without empty ones are $lines.
count_lines() {
	its_ifs=$IFS IFS=$newline
	set -f
	# shellcheck disable=SC2086 # lines
	set -- $1
	set +f
	IFS=$its_ifs lines=$#
}

# An archive $1 holds what its manifest $2 says, by its bytes; $3 is where lists may lie. The binary's own line is the last: it lies beside
# the archive, or at its end when the controller has put them together ($4: inside).
agrees() {
	take_wanted "$2" "$3" "$4" || return 1
	[ "$files" -gt 0 ] || return 0
	if [ "$files" -le 2000 ] && [ "$bytes" -le 33554432 ]; then
		agrees_aside "$@"
	else
		tar -xzf "$1" --anchored --exclude=upkeep-backup --to-command=sha256sum 2>>"$3.err" | cut -d ' ' -f 1 | cmp -s "$3.wanted" -
	fi
}

# The SHA-256 of the binary in the backup $1 is $program.
take_program() {
	get "$1/verified" binary_sha256
	program=$got
	[ -n "$program" ] || program=$(sed -n "s/^\([0-9a-f]*\)${TAB}binary${TAB}f$TAB.*/\1/p" "$1/upkeep-backup/manifest")
}

# The binary lies beside the archive, as it is: it hardly compresses, and one copy serves a whole fleet's controller (docs/adr/0012).
keep_binary() {
	clear_name "$1/binary"
	[ -n "$program" ] || return 0
	copy_of "$b_target" "$1/binary" 2>>"$1/list.err" && know_fresh "$1/binary" && [ "$known" = "$program" ]
}

# One attempt, in the folder $1; fails when anything changed or vanished meanwhile.
try_backup() {
	list_tree "$1/upkeep-backup/roots" "$1/list" && manifest_of "$list" >"$1/upkeep-backup/manifest" || return 1
	ended "$list.names" >"$1/names"
	umask 077
	# shellcheck disable=SC2086 # attributes are separate words
	tar -c -S $attributes --numeric-owner --hard-dereference -I 'gzip -1' -f "$1/archive.tar.gz" -C "$1" upkeep-backup \
		-C / --no-recursion --null --no-unquote -T "$1/names" 2>>"$list.err"
	code=$?
	umask 022
	[ "$code" -eq 0 ] && keep_binary "$1" && unchanged "$1" &&
		agrees "$1/archive.tar.gz" "$1/upkeep-backup/manifest" "$1/check" beside
}

# Nothing is other than it was when the list was made, whatever the order in which find sees it.
unchanged() {
	look_at_tree "$1/upkeep-backup/roots" "$1/list.again" || return 1
	cmp -s "$1/list.raw" "$1/list.again.raw" && return
	tr '\0\n' '\n\001' <"$1/list.again.raw" | sort -t "$TAB" -k 8 -u | cmp -s "$1/list" -
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
	get "$1/service.show" FragmentPath
	unit_files=$got
	get "$1/service.show" DropInPaths
	set -f
	for file in $unit_files $got; do
		[ ! -f "$file" ] || cp -p -- "$file" "$1/unit/" || return 1
	done
	set +f
}

write_before() {
	text=''
	add run "$RUN"
	add version "$FROM"
	add form "$b_form"
	add link "$b_link"
	add target "$b_target"
	add sha256 "$b_sha256"
	get "$1/service.show" ActiveState
	add active "$got"
	add at "$(date +%s)"
	printf '%s\n' "$text" >"$1/before"
}

tell_backup() {
	say path "$1"
	get "$1/upkeep-backup/before" run && say run "$got"
	for name in sha256 size_bytes files; do
		get "$1/verified" "$name" && say "$name" "$got"
	done
	get "$1/verified" binary
	[ "$got" != beside ] || { take_program "$1" && say binary_sha256 "$program"; }
	while IFS= read -r line; do
		case $line in skipped=* | vanished=*) printf '%s\n' "$line" ;; esac
	done <"$1/verified"
}

# Nobody looks for a backup where it is made: what the folder holds is written to the disk once, before it takes its place.
# $entries of the manifest were counted when the archive was compared with it.
write_verified() {
	text=''
	know_hash "$1/archive.tar.gz"
	size=${stamp#* * }
	size=${size%% *}
	[ -n "$size" ] || take_size "$1/archive.tar.gz"
	add sha256 "$known"
	add size_bytes "$size"
	add files "$entries"
	add at "$(date +%s)"
	if [ -f "$1/binary" ]; then
		add binary beside
		add binary_sha256 "$program"
	fi
	for its_part in list.skipped vanished; do
		[ -s "$1/$its_part" ] || continue
		while IFS= read -r line; do text=$text$newline$line; done <"$1/$its_part"
	done
	[ -n "$known" ] && printf '%s\n' "$text" >"$1/verified" || return 1
	set -- "$1/verified" "$1/archive.tar.gz" "$1/upkeep-backup/before" "$1/upkeep-backup/manifest" "$1/binary"
	[ -f "$5" ] || set -- "$1" "$2" "$3" "$4"
	sync "$@"
}

# Makes and compares a backup in the folder $1; a file that changes is read again, three times in all.
make_backup() {
	umask 077
	mkdir "$1" "$1/upkeep-backup" "$1/upkeep-backup/unit" || finish failed "$1 cannot be made"
	umask 022
	for needed in "$FIND" "$TAR"; do
		case $("$needed" --version 2>&1) in *GNU*) ;; *) finish backup-failed "GNU ${needed##*/} is needed on the host" ;; esac
	done
	binary_look
	[ "$b_form" != other ] || finish backup-failed "$BINARY is neither a file nor a link to one"
	tar_attributes
	service_snapshot "$1/upkeep-backup" && write_before "$1/upkeep-backup" || finish failed "the unit's snapshot cannot be written"
	roots >"$1/upkeep-backup/roots"
	attempt=1
	until try_backup "$1"; do
		[ -f "$1/list.attempt" ] || cp "$1/list" "$1/list.attempt"
		[ "$attempt" -lt 3 ] || finish backup-failed "changed or could not be read in three attempts: $(changed_name "$1")"
		attempt=$((attempt + 1))
		pause
	done
	if [ "$attempt" -gt 1 ]; then
		cut -f 8- "$1/list.attempt" | sort >"$1/a"
		cut -f 8- "$1/list" | sort >"$1/b"
		comm -23 "$1/a" "$1/b" | sed 's/^\./vanished=/' >"$1/vanished"
	fi
	write_verified "$1" || finish failed "$1 cannot be written"
	rm -rf "$1"/list* "$1"/check* "$1"/a "$1"/b "$1"/names "$1"/vanished
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
		[ ! -e "$place.new" ] || rm -rf -- "$place.new"
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
	file) j_from_target=$RELEASES/$FROM_NAME-${b_sha256%"${b_sha256#????????}"}-adopted/${BINARY##*/} ;;
	esac
	journal_write prepared "$REASON" controller
}

phase_read_backup() {
	exec cat "$U/backups/$RUN/archive.tar.gz"
}

phase_read_binary() {
	exec cat "$U/backups/$RUN/binary"
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
	rm -rf "$fresh"/check*
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
