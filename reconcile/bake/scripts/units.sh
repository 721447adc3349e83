# A line per unit: NAME INPUTS enable|disable. What changed since the last package is restarted, what is gone is stopped.
# Nothing here fails or waits for a service: this may run below the updater itself, in a chroot, or without systemd. $root
# is the folder that stands for /, or empty.
units() {
	want=$(cat "$root@UNITS@" 2>/dev/null || true)
	record="$root@STATE@/units"
	had=$(cat "$record" 2>/dev/null || true)
	stopped=$(cat "$root@STATE@/stopped" 2>/dev/null || true) # what somebody stopped or disabled, by the updater
	nl='
'
	live=
	if [ -z "$root" ] && [ -d /run/systemd/system ]; then live=1; fi
	ctl() {
		command -v systemctl >/dev/null 2>&1 || return 0
		if [ -n "$root" ]; then set -- "--root=$root" "$@"; fi
		systemctl --quiet "$@" </dev/null || true
	}
	# May this be done to the unit? Debian has an administrator's policy-rc.d say so, as in an image that is being built.
	may() {
		command -v policy-rc.d >/dev/null 2>&1 || return 0
		code=0
		policy-rc.d "${2%.*}" "$1" </dev/null >&2 || code=$?
		[ "$code" != 101 ] || { echo "note: policy-rc.d forbids to $1 $2" >&2 && return 1; }
	}
	echo "$had" | while read -r unit inputs state; do
		case "$nl$want" in *"$nl$unit "*) continue ;; esac
		[ -n "$unit" ] || continue
		case "$live $unit" in
		"1 "*.service) may stop "$unit" && ctl --no-block stop "$unit" ;;
		"1 "*) may stop "$unit" && ctl stop "$unit" ;; # a socket or timer, which takes no time
		esac || true
		rm -f "$root/etc/systemd/system/"*".target.wants/$unit" || true
	done
	# Only now: a timer that systemd finds without what it triggers counts as failed.
	[ -z "$live" ] || ctl daemon-reload
	echo "$want" | while read -r unit inputs state; do
		[ -n "$unit" ] || continue
		case "$state $nl$stopped$nl" in
		"enable "*"$nl$unit disabled$nl"*) echo "note: $unit was disabled by an administrator and stays so" >&2 ;;
		*) ctl --no-reload "$state" "$unit" ;;
		esac
		hidden "$root" "$unit"
		[ -n "$live" ] || continue
		case "$nl$stopped$nl" in
		*"$nl$unit stopped$nl"*) echo "note: $unit was stopped by an administrator and stays so" >&2 && continue ;;
		esac
		may restart "$unit" || continue
		case "$state $nl$had$nl" in
		"enable "*"$nl$unit $inputs $state$nl"*) ctl --no-block start "$unit" ;;
		"enable "*) ctl --no-block restart "$unit" ;;
		*"$nl$unit $inputs $state$nl"*) ;;
		*) ctl --no-block try-restart "$unit" ;;
		esac
	done
	(umask 077 && mkdir -p "$root@STATE@" && echo "$want" >"$record.new" && mv -f "$record.new" "$record") || true
}
