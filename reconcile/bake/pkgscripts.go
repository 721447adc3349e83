package bake

// What pkgadd and pkgrm run, by the shell that Solaris has since version 11. They are told nothing but PKGINST,
// PKG_INSTALL_ROOT, and UPDATE where a package is put over one of its name.
const (
	pkgCommon = `root=${PKG_INSTALL_ROOT:-}
[ "$root" != / ] || root=
old=$root@STATE@/pkg-before
# $1 is a step, $2 the file that has it. A sandbox's folder goes by the name that the other formats have for it.
step() {
	[ -f "$2" ] || return 0
	DPKG_ROOT=$root @ACTION@=$action /bin/sh "$2" "$1" "$root" </dev/null
}
`
	// preinstall keeps what the package before says of itself, and does what comes before the files.
	pkgPreinstall = `action=install
rm -rf "$old"
(umask 077 && mkdir -p "$old") || exit 1
if [ -f "$root@FILES@" ]; then
	action=upgrade
	cp "$root@FILES@" "$old/files" || exit 1
	if [ -f "$root@SCRIPTS@" ]; then cp "$root@SCRIPTS@" "$old/scripts" || exit 1; fi
	step prerm "$old/scripts" || echo "the step prerm of the package before failed" >&2
fi
cat >"$old/new" <<'@END@' || exit 1
@STEPS@
@END@
for s in pretrans users preinst; do step $s "$old/new" || exit 1; done
`
	// postinstall takes away what only the package before had, and does what comes after the files.
	pkgPostinstall = `action=install
gone=
nl='
'
if [ -f "$old/files" ]; then
	action=upgrade
	now=$(cat "$root@FILES@")
	while read -r f; do
		case "$nl$now$nl" in *"$nl$f$nl"*) continue ;; esac
		gone=1
		removef ${root:+-R "$root"} "$PKGINST" "${f%/}" </dev/null >/dev/null 2>&1
		case "$f" in
		*/) rmdir "$root$f" 2>/dev/null ;;
		*) rm -f "$root$f" ;;
		esac
	done <"$old/files"
	[ -z "$gone" ] || removef ${root:+-R "$root"} -f "$PKGINST" >/dev/null 2>&1
fi
step postrm "$old/scripts" || echo "the step postrm of the package before failed" >&2
step postinst "$root@SCRIPTS@" || exit 1
step services "$root@SCRIPTS@" || exit 1
step posttrans "$root@SCRIPTS@" || exit 1
rm -rf "$old"
exit 0
`
	pkgPreremove = `action=remove
step noservices "$root@SCRIPTS@" || true
step prerm "$root@SCRIPTS@" || exit 1
rm -rf "$old"
if [ -f "$root@SCRIPTS@" ]; then (umask 077 && mkdir -p "$old" && cp "$root@SCRIPTS@" "$old/scripts") || exit 1; fi
exit 0
`
	pkgPostremove = `action=remove
step postrm "$old/scripts" || exit 1
rm -rf "$old"
exit 0
`
)
