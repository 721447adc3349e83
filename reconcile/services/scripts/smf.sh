known() { svccfg import "/lib/svc/manifest/site/$1.xml"; }
start() {
	svcs -H "svc:/site/$1:default" >/dev/null 2>&1 || known "$1"
	svcadm enable "svc:/site/$1:default"
	svcadm clear "svc:/site/$1:default" 2>/dev/null
}
restart() {
	known "$1"
	svcadm enable "svc:/site/$1:default"
	svcadm refresh "svc:/site/$1:default"
	svcadm restart "svc:/site/$1:default"
	svcadm clear "svc:/site/$1:default" 2>/dev/null
}
stop() {
	svcadm disable "svc:/site/$1:default"
	svccfg delete -f "svc:/site/$1"
}
disable() {
	known "$1"
	svcadm disable "svc:/site/$1:default"
}
