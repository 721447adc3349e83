#!/bin/sh
# Prints the host's vital signs: a line with <<<name>>> starts a section, the lines after it are its data.
# Settings come from /etc/vitals.conf, which the fleet's rules write. Reads /proc and df, needs no root.
set -eu

CONF=${VITALS_CONF:-/etc/vitals.conf}
SECTIONS="load memory disk"
DISK=90
if [ -r "$CONF" ]; then
	# shellcheck disable=SC1090
	. "$CONF"
fi

# section NAME starts a section.
section() {
	printf '<<<%s>>>\n' "$1"
}

# load: the three load averages, the number of processors, and the load per processor in hundredths.
load() {
	section load
	read -r one five fifteen rest </proc/loadavg
	processors=$(grep -c '^processor' /proc/cpuinfo || true)
	[ "${processors:-0}" -gt 0 ] || processors=1
	hundredths=$(printf '%s\n' "$one" | awk -v n="$processors" '{printf "%d", $1 * 100 / n}')
	printf 'load1=%s load5=%s load15=%s processors=%s per_processor=%s.%02d\n' \
		"$one" "$five" "$fifteen" "$processors" "$((hundredths / 100))" "$((hundredths % 100))"
	printf 'processes=%s\n' "$(printf '%s\n' "$rest" | cut -d' ' -f1)"
}

# memory: total, available and swap in kB, and the share in use.
memory() {
	section memory
	awk '
		/^MemTotal:/     { total = $2 }
		/^MemAvailable:/ { available = $2 }
		/^SwapTotal:/    { swap = $2 }
		/^SwapFree:/     { free = $2 }
		END {
			if (total > 0)
				printf "total=%d available=%d used_percent=%d\n", total, available, (total - available) * 100 / total
			printf "swap_total=%d swap_used=%d\n", swap, swap - free
		}
	' /proc/meminfo
}

# disk: every local file system, with "full" for those above the limit.
disk() {
	section disk
	printf 'limit=%s\n' "$DISK"
	df -P -l -x tmpfs -x devtmpfs 2>/dev/null | awk -v limit="$DISK" '
		NR > 1 {
			used = $5
			sub(/%/, "", used)
			state = (used + 0 >= limit + 0) ? "full" : "ok"
			printf "mount=%s size_kb=%s used_kb=%s used_percent=%s state=%s\n", $6, $2, $3, used, state
		}
	'
}

# sockets: how many TCP connections are in each state, from the kernel's tables.
sockets() {
	section sockets
	cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '
		BEGIN {
			name["01"] = "established"
			name["02"] = "syn_sent"
			name["03"] = "syn_received"
			name["04"] = "fin_wait1"
			name["05"] = "fin_wait2"
			name["06"] = "time_wait"
			name["07"] = "closed"
			name["08"] = "close_wait"
			name["09"] = "last_ack"
			name["0A"] = "listening"
			name["0B"] = "closing"
		}
		$4 in name { count[name[$4]]++ }
		END {
			for (code in name)
				printf "%s=%d\n", name[code], count[name[code]]
		}
	' | sort
}

section vitals
printf 'kernel=%s\n' "$(uname -sr)"
printf 'uptime_seconds=%s\n' "$(cut -d. -f1 /proc/uptime)"

for name in $SECTIONS; do
	case $name in
	load | memory | disk | sockets) "$name" ;;
	*) printf 'vitals: no section %s\n' "$name" >&2 ;;
	esac
done
