# launchd starts at boot what it finds as a file of its own: since macOS 14 it passes over links, and an updated package is links.
put() {
	cp "@MANIFESTS@$1.plist" "/Library/LaunchDaemons/.$1.new" && chmod 644 "/Library/LaunchDaemons/.$1.new" &&
		mv -f "/Library/LaunchDaemons/.$1.new" "/Library/LaunchDaemons/$1.plist"
}
loaded() { launchctl print "system/$1" >/dev/null 2>&1; }
# launchd lets go of a service when it has ended, and until then does not take it again.
load() {
	launchctl enable "system/$1"
	tries=0
	until launchctl bootstrap system "/Library/LaunchDaemons/$1.plist" >/dev/null 2>&1 || [ $tries -ge 20 ]; do
		tries=$((tries + 1))
		sleep 1
	done
}
start() {
	put "$1"
	loaded "$1" || load "$1"
}
restart() {
	launchctl bootout "system/$1" >/dev/null 2>&1
	put "$1"
	load "$1"
}
stop() {
	launchctl bootout "system/$1" >/dev/null 2>&1
	rm -f "/Library/LaunchDaemons/$1.plist"
}
disable() {
	launchctl disable "system/$1"
	stop "$1"
}
