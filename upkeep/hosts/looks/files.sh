# The agent's files: what they hold (by hash), who may read and write them. Paths come one a line.
IFS='
'
set -f
# shellcheck disable=SC2086
set -- $CONFIG
present=''
for path in "$@"; do [ ! -e "$path" ] || present="$present$path$IFS"; done
# shellcheck disable=SC2086
[ -z "$present" ] || hashes=$(find $present -type f -exec sha256sum {} + 2>/dev/null | sort -k 2)
if [ -z "${hashes-}" ]; then
    for key in content rights world_writable secrets; do say "config.$key" '?' '' "no file there: $*"; done
else
    say config.content "$(printf '%s\n' "$hashes" | cksum | tr ' ' -)" '' "$(printf '%s\n' "$hashes" | grep -c .) files"
    # shellcheck disable=SC2086
    rights=$(find $present $BINARY $SECRETS ! -type l -exec stat -c '%a %U:%G %n' {} + 2>/dev/null | sort -u)
    say config.rights "$(printf '%s\n' "$rights" | cksum | tr ' ' -)" '' "$(printf '%s\n' "$rights" | grep -c .) files and folders"
    open=$(printf '%s\n' "$rights" | awk '$1 ~ /[2367]$/ && !(length($1) == 4 && $1 ~ /^[1357]/) { print $3 }')
    say config.world_writable "$(printf '%s' "$open" | grep -c .)" '' "$(printf '%s' "$open" | head -n 5 | tr '\n' ' ')"
    # shellcheck disable=SC2086
    telling=$(find $present -type f -size -256k ! -name '*.pem' ! -name '*.crt' -exec grep -lEi '^[^#]*(password|passwd|secret|api_?key|token)[a-z_]*["'"'"']?[[:space:]]*[:=][[:space:]]*["'"'"']?[^[:space:]"'"'"'$/{][^[:space:]]{3,}' {} + 2>/dev/null)
    say config.secrets "$(printf '%s' "$telling" | grep -c .)" '' "$(printf '%s' "$telling" | head -n 5 | tr '\n' ' ')"
fi
if [ -z "$SECRETS" ]; then
    say secret.mode none '' 'the profile names no secret file'
else
    # shellcheck disable=SC2086
    for path in $SECRETS; do
        if [ -e "$path" ]; then say secret.mode "$(stat -L -c %a "$path")" "$path"; else say secret.mode '?' "$path" 'is not there'; fi
    done
fi
# shellcheck disable=SC2086
for path in $(find $CONFIG $SECRETS -type f \( -name '*.pem' -o -name '*.crt' -o -name '*.cer' \) 2>/dev/null | head -n 20); do
    until=$(openssl x509 -noout -enddate -in "$path" 2>/dev/null) || continue
    ends=$(date -d "${until#*=}" +%s 2>/dev/null) || continue
    left=$((ends - $(date +%s)))
    [ "$left" -ge 0 ] || left=$((left - 86399))
    say certificate.days "$((left / 86400))" "$path" && some=1
done
[ -n "${some-}" ] || say certificate.days none '' 'no certificate among the files of the agent'
if [ -d "$RELEASES" ]; then
    set +f && set -- "$RELEASES"/*/
    [ -d "$1" ] || set --
    say releases.kept $#
else
    say releases.kept none '' 'no folder of releases'
fi
