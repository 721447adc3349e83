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
	# shadow's programs, or where there is no package manager of a distribution, those of busybox, which know of no other
	# root.
	able() { command -v "$1" >/dev/null 2>&1; }
	small() {
		if [ -z "$root" ] && able adduser && able addgroup; then return; fi #busybox
		programs="systemd-sysusers nor useradd and groupadd"
		programs="$programs nor adduser and addgroup" #busybox
		echo "error: $1 is not there, and nothing to make it with: neither $programs" >&2
		exit 75
	}
	new_group() {
		if able groupadd; then
			groupadd ${root:+--prefix "$root"} --system "$1"
		else
			small "the group $1"
			addgroup -S "$1" #busybox
		fi
	}
	group() { known group "$1" || new_group "$1"; }
	new_user() {
		if able useradd; then
			useradd ${root:+--prefix "$root"} --system --gid "$1" --home-dir "$2" --no-create-home --shell "$3" \
				--comment "$4" "$1"
		else
			small "the user $1"
			adduser -S -D -H -G "$1" -h "$2" -s "$3" -g "$4" "$1" #busybox
		fi
	}
	user() {
		group "$1"
		known passwd "$1" || new_user "$@"
	}
	member() {
		group "$2"
		if able usermod; then
			usermod ${root:+--prefix "$root"} --append --groups "$2" "$1"
			return
		fi
		if grep -qE "^$2:[^:]*:[^:]*:(.*,)?$1(,|\$)" "$root/etc/group"; then return; fi #busybox
		small "the user $1 in the group $2"
		addgroup "$1" "$2" #busybox
	}
@COMMANDS@
) </dev/null
