nounits() {
	record="$root@STATE@/units"
	[ -f "$record" ] && command -v systemctl >/dev/null 2>&1 || return 0
	while read -r unit inputs state; do
		[ -n "$unit" ] || continue
		if [ -n "$root" ]; then
			systemctl --quiet --root="$root" disable "$unit" </dev/null || true
			continue
		fi
		if [ -d /run/systemd/system ]; then systemctl --quiet --no-block stop "$unit" </dev/null || true; fi
		systemctl --quiet --no-reload disable "$unit" </dev/null || true
	done <"$record"
	rm -f "$record"
}
