# hidden ROOT UNIT... says which units are not in force as the package has them, because systemd finds others first.
hidden() {
	there=$1
	shift
	for unit; do
		for dir in /etc/systemd/system /run/systemd/system /usr/local/lib/systemd/system; do
			if [ "$there$dir/$unit" -ef /dev/null ]; then
				echo "warning: $unit is masked ($dir/$unit): it does not run" >&2
			elif [ -e "$there$dir/$unit" ]; then
				echo "warning: $dir/$unit is in force, and not this package's $unit" >&2
			else
				continue
			fi
			break
		done
	done
}
