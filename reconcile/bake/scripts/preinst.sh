# Looks before anything is changed. dpkg takes /lib/x and /usr/lib/x for two files, even where /lib is a link, and would
# let this package overwrite what another one has under the other name. What dpkg is about to unpack lies beside this
# script. Replaces is no way around it: dpkg would remove the other package's file, which is this one's then. Diverted
# files may be taken.
case "$1" in install | upgrade)
	new=${0%/*}
	taken=$(sed -n -E 's#^[0-9a-f]+  usr(/(bin|lib|lib32|lib64|libx32|sbin)/[^][*?]*)$#\1#p' "$new/md5sums" |
		xargs -r -d '\n' dpkg-query --search -- 2>/dev/null |
		while IFS= read -r line; do
			case "$line" in
			"diversion by "* | "$DPKG_MAINTSCRIPT_PACKAGE: "*) ;;
			*) echo "$line" ;;
			esac
		done) || true
	if [ -n "$taken" ]; then
		echo "error: another package has this under the other name of its folder:" >&2
		echo "$taken" >&2
		echo "hint: remove that package first" >&2
		exit 75 # a condition of the host: EX_TEMPFAIL
	fi
	hidden "${DPKG_ROOT:-}" $(sed -n 's#^[0-9a-f]*  usr/lib/systemd/system/\([^/ ]*\)$#\1#p' "$new/md5sums")
	;;
esac
