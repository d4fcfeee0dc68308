# Sourced by the other scripts: goes to the top of the repository and offers what they share.
# It installs nothing that is already there, and never touches the Rust toolchain.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

# Debian keeps nginx and haproxy where a user's PATH does not look.
export PATH=$PATH:/usr/sbin:/sbin

# Says what runs, then runs it.
step() {
	printf '\n== %s\n' "$*"
	"$@"
}

# need COMMAND[=PACKAGE]… installs the Debian package of every command that is missing.
need() {
	local wanted missing=() as_root=()
	for wanted in "$@"; do
		type -P "${wanted%%=*}" >/dev/null || missing+=("${wanted#*=}")
	done
	((${#missing[@]})) || return 0
	((EUID == 0)) || as_root=(sudo)
	echo "installing ${missing[*]}" >&2
	"${as_root[@]}" apt-get -qq update
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
		apt-get -qq install --no-install-recommends "${missing[@]}" >/dev/null
}

# Asks for a Rust toolchain, which Debian has none new enough of, and installs the C tools that it calls.
need_rust() {
	if ! type -P cargo >/dev/null; then
		echo "Rust is missing: install it as https://rustup.rs says, then run this again" >&2
		return 1
	fi
	need cc=build-essential
}
