#!/bin/sh
# Sets up the checkout: uv if it is missing, the locked packages into .venv. With `machines`, as root, also what boots real systemd hosts.
set -eu
cd "$(dirname "$0")"
export UV_PYTHON_DOWNLOADS=never DEBIAN_FRONTEND=noninteractive
if [ -s /etc/ssl/certs/ca-certificates.crt ]; then # a site's own certificate authority lies there, not in uv
	export UV_SYSTEM_CERTS=1
fi

say() { echo "setup: $*" >&2; }

python() {
	for name in python3.13 python3.12 python3.11 python3; do
		# the program itself, not a shim before it: for uv that would be another Python each time, and .venv be made anew under a running upkeep
		if "$name" -c 'import sys; sys.version_info < (3, 11) and sys.exit(1); print(sys.executable)' 2>/dev/null; then
			return
		fi
	done
	say "no Python 3.11 or newer was found; do: install python3.11 or newer"
	exit 1
}

apt_install() {
	if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
		return 1
	fi
	apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 ||
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }
}

# uv into build/uv: by venv, else by pip, else (as root) after installing python3-venv.
fetch_uv() {
	say "fetching uv"
	py=$(python)
	if ! "$py" -m venv build/uv >/dev/null 2>&1; then
		rm -rf build/uv
		if "$py" -m pip --version >/dev/null 2>&1; then
			"$py" -m pip install --quiet --target build/uv-packages uv
			mkdir -p build/uv/bin
			ln -sf ../../uv-packages/bin/uv build/uv/bin/uv
			return
		fi
		apt_install python3-venv || { say "this Python has neither venv nor pip; do: sudo apt-get install python3-venv"; exit 1; }
		"$py" -m venv build/uv
	fi
	build/uv/bin/python -m pip install --quiet --disable-pip-version-check uv
}

# What the tests of real machines need: programs Debian and Ubuntu have.
machines() {
	if [ "$(id -u)" -ne 0 ]; then
		say "not root: tests on real systemd hosts will be skipped"
		return
	fi
	missing=''
	for pair in systemd-nspawn:systemd-container mmdebstrap:mmdebstrap ip:iproute2 nft:nftables mkfs.ext4:e2fsprogs \
		ssh:openssh-client sshd:openssh-server flock:util-linux zstd:zstd sudo:sudo strace:strace curl:curl openssl:openssl ps:procps \
		chromium:chromium busybox:busybox \
		zsh:zsh fish:fish tcsh:tcsh; do
		command -v "${pair%%:*}" >/dev/null || [ -x "/usr/sbin/${pair%%:*}" ] || missing="$missing ${pair#*:}"
	done
	# its programs are not on PATH
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing="$missing postgresql"
	[ -z "$missing" ] && return
	say "installing$missing"
	# a list of packages
	# shellcheck disable=SC2086
	apt_install $missing || say "could not install$missing; tests that need them will fail"
}

if [ "${1:-}" = machines ]; then
	machines
	exit 0
fi
if command -v uv >/dev/null; then
	uv=uv
else
	[ -x build/uv/bin/uv ] || fetch_uv
	uv=build/uv/bin/uv
fi
# Compiled once here: where Python may not keep what it compiles, every start would pay 3 s of CPU for it.
"$uv" sync --quiet --locked --all-extras --compile-bytecode --python "$(python)"
.venv/bin/python -m compileall -q upkeep flows tasks
