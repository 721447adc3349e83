case "$1" in
remove)
	if [ -z "${DPKG_ROOT:-}" ] && [ -d /run/systemd/system ]; then systemctl --quiet daemon-reload </dev/null || true; fi
	;;
purge) rm -rf "${DPKG_ROOT:-}@STATE@" ;;
esac
