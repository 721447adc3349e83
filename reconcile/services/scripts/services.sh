# A line per service: NAME INPUTS enable|disable. What changed since the last package is restarted, what is gone is stopped.
# Nothing here fails: how services are is the health checks' matter.
services() {
	[ -z "${DPKG_ROOT:-}" ] || return 0
	want=$(cat @UNITS@ 2>/dev/null || true)
	had=$(cat @STATE@/units 2>/dev/null || true)
	nl='
'
	echo "$had" | while read -r name inputs state; do
		case "$nl$want" in *"$nl$name "*) continue ;; esac
		[ -z "$name" ] || stop "$name" </dev/null || true
	done
	echo "$want" | while read -r name inputs state; do
		[ -n "$name" ] || continue
		case "$state $nl$had$nl" in
		"disable "*) disable "$name" ;;
		*"$nl$name $inputs $state$nl"*) start "$name" ;;
		*)
			# The updater sees by itself that its program is another. Whatever stopped it here would stop what installs this.
			case "$name" in
			@OWN@ | *.@OWN@) start "$name" ;;
			*) restart "$name" ;;
			esac
			;;
		esac </dev/null || true
	done
	(umask 077 && mkdir -p @STATE@ && echo "$want" >@STATE@/units.new && mv -f @STATE@/units.new @STATE@/units) || true
}
noservices() {
	[ -z "${DPKG_ROOT:-}" ] || return 0
	while read -r name inputs state; do
		[ -z "$name" ] || stop "$name" </dev/null || true
	done <@STATE@/units 2>/dev/null || true
	rm -f @STATE@/units
}
