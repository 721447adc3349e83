# MODE OWNER PATH. A directory that an administrator made a link to another is left alone, and so is one with an override
# of dpkg's. What is changed is where the shell stands: whoever owns a folder above cannot slip another one in.
directory() {
	if command -v dpkg-statoverride >/dev/null 2>&1 && dpkg-statoverride --list "$3" >/dev/null 2>&1; then return 0; fi
	(
		cd -P "$root$3" 2>/dev/null && [ "$(pwd -P)" = "$(cd -P "$root/" && pwd -P | sed 's,/$,,')$3" ] || exit 0
		[ -n "$root" ] || chown "$2" .
		chmod "$1" .
	)
}
make_directory() {
	[ -d "$root$3" ] || mkdir -p -m "$1" "$root$3"
	directory "$@"
}
