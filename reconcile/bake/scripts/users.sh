# System users and groups; those that are there already stay as they are.
(
	root="${DPKG_ROOT:-}"
	if command -v systemd-sysusers >/dev/null 2>&1; then
		systemd-sysusers ${root:+"--root=$root"} - <<'END'
@SYSUSERS@
END
		exit 0
	fi
	known() { grep -q "^$2:" "$root/etc/$1" 2>/dev/null || { [ -z "$root" ] && getent "$1" "$2" >/dev/null 2>&1; }; }
	group() { known group "$1" || groupadd ${root:+--prefix "$root"} --system "$1"; }
	user() {
		group "$1"
		known passwd "$1" || useradd ${root:+--prefix "$root"} --system --gid "$1" --home-dir "$2" --no-create-home --shell "$3" --comment "$4" "$1"
	}
	member() {
		group "$2"
		usermod ${root:+--prefix "$root"} --append --groups "$2" "$1"
	}
@COMMANDS@
) </dev/null
