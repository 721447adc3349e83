package examples_test

import (
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/examples/internal/realhost"
	"bakehouse/schema/needs"
)

// agentStandIn is no Checkmk agent: none can be had here. It prints the sections that tell which of the files that the
// plugin checkmk lays out it found, in the way that the agent's documentation describes: plug-ins and local checks of their
// folders, those of a numbered folder from a cache that is filled in the background, MRPE lines, and whether there is a
// passphrase.
const agentStandIn = `#!/bin/sh
lib=/usr/lib/check_mk_agent etc=/etc/check_mk var=/var/lib/check_mk_agent
echo '<<<check_mk>>>'
echo "Version: stand-in"
echo "User: $(id -un)"
[ "$MK_READ_REMOTE" != true ] || { read -r remote && echo "Remote: $remote"; }
[ -f $etc/encryption.cfg ] && . $etc/encryption.cfg && echo "Encrypted: $ENCRYPTED ${#PASSPHRASE}"
for p in $lib/plugins/*; do [ -f "$p" ] && [ -x "$p" ] && "$p"; done
mkdir -p $var/cache
for p in $lib/plugins/[0-9]*/*; do
	[ -x "$p" ] || continue
	cache=$var/cache/$(basename "$p") seconds=$(basename "$(dirname "$p")")
	[ -f "$cache" ] && echo "cached for $seconds" && cat "$cache"
	("$p" >"$cache.new" && mv "$cache.new" "$cache") </dev/null >/dev/null 2>&1 &
done
echo '<<<local>>>'
for p in $lib/local/*; do [ -f "$p" ] && "$p"; done
echo '<<<mrpe>>>'
[ -f $etc/mrpe.cfg ] && while read -r name line; do
	case "$line" in "("*) interval="${line%%)*}" line="${line#*) }" ;; esac
	echo "$name $interval) $($line)"
done <$etc/mrpe.cfg
`

// controllerStandIn answers on the port that its settings name, if there is a registration: what it writes to the
// agent's socket and reads from there is as the controller does it. There is no TLS in it.
const controllerStandIn = `#!/usr/bin/perl
use strict;
use IO::Socket::INET;
use IO::Socket::UNIX;
my $home = (getpwnam('cmk-agent'))[7];
sub slurp { local $/; open(my $f, '<', $_[0]) or return ''; <$f> }
my ($port) = slurp("$home/cmk-agent-ctl.toml") =~ /^pull_port = (\d+)$/m;
my $door = IO::Socket::INET->new(Listen => 5, LocalPort => $port, ReuseAddr => 1) or die $!;
while (my $c = $door->accept) {
	my $registered = slurp("$home/registered_connections.json");
	my $agent = IO::Socket::UNIX->new('/run/check-mk-agent.socket');
	print $agent $c->peerhost . "\n";
	print $c "by " . getpwuid($>) . " for $registered", <$agent> if $registered;
	close $c;
}
`

const checkmkRules = `package hosts

rules: checkmk: [
	{value: {
		agent: {archive: "vendor/check-mk-agent.deb", member: "usr/bin/check_mk_agent"}
		user:       "cmk"
		passphrase: "it's a secret"
		only_from:  "GATEWAY"
		plugins: [{name: "plain", content: "#!/bin/sh\necho '<<<plain>>>'\necho one\n"}]
	}},
	{value: {
		plugins: [{name: "slow", content: "#!/bin/sh\necho '<<<slow>>>'\n", interval: "2m"}]
		local: [{name: "mine", content: "#!/bin/sh\necho '0 mine - fine'\n"}]
		mrpe: [{name: "A check", command: "/bin/echo well", interval: "5m"}]
	}},
]
rules: steps: [{value: {}}]
`

// stepsPlugin has what any plugin may have: scripts of every step, a command that is run again and again, a user, a file
// of that user's.
const stepsPlugin = `package steps

plugin: {
	params: beat: string | *"one"
	files: "/etc/steps/token": {content: "token", mode: 0o640, owner: "steps", group: "readers"}
	files: "/usr/bin/steps-beat": {mode: 0o755, content: """
		#!/bin/sh
		echo "\(params.beat) by $(id -un) with $(cat /etc/steps/token)"
		echo >>/var/cache/steps/count
		"""}
	users: steps: {home: "/var/lib/steps", groups: ["adm"]}
	groups: ["readers"]
	intervals: "steps-beat": {exec: "/usr/bin/steps-beat", every: "1s", user: "steps", output: "/var/cache/steps/beat", timeout: "10s"}
	scripts: {
		for step in ["pretrans", "preinst", "postinst", "prerm", "postrm", "posttrans"] {
			(step): """
				echo "\(step) $BAKEHOUSE_ACTION $(getent passwd steps | cut -d: -f1)" >>/root/steps
				"""
		}
	}
}
`

// An agent's package on a booted Debian, installed, upgraded and removed by its own dpkg, with what it prints fetched over
// the network as a monitoring server would.
func TestCheckmkAnswersOnARealHost(t *testing.T) {
	t.Parallel()
	h := realhost.Boot(t, "web01")
	o := newOperator(t, "minimal", freePort(t, h.Gateway))
	o.write("server.cue", "package fleet\n") // no host looks for one
	o.write("hosts/hosts.cue", "package hosts\n\ndefaults: {platform: \"linux/"+runtime.GOARCH+"\", format: \"deb\"}\nhosts: web01: {}\n")
	o.write("hosts/rules.cue", strings.Replace(checkmkRules, "GATEWAY", h.Gateway.String()+" 192.0.2.0/24", 1))
	for _, dir := range []string{"plugins/steps", "vendor"} {
		if err := os.MkdirAll(filepath.Join(o.repo, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	o.write("plugins/steps/plugin.cue", stepsPlugin)
	vendorAgent(t, filepath.Join(o.repo, "vendor/check-mk-agent.deb"))
	o.createKeys()
	release := func(message string) {
		t.Helper()
		o.commit(message)
		o.reconcile()
		deb := filepath.Join(t.TempDir(), "web01.deb")
		o.run("package", "get", "web01", "--store", o.store, "-o", deb)
		h.Copy("/root/web01.deb", 0o644, deb)
	}
	steps := func(what string, want ...string) {
		t.Helper()
		if got := strings.Split(strings.TrimSpace(h.Run("cat", "/root/steps")), "\n"); !slices.Equal(got, want) {
			t.Errorf("%s ran\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		h.Run("rm", "/root/steps")
	}
	release("The fleet")

	// As Checkmk's own package leaves a host that is registered.
	const registration = "/var/lib/cmk-agent/registered_connections.json"
	h.Run("useradd", "--system", "--home-dir", "/var/lib/cmk-agent", "--shell", "/bin/false", "cmk-agent")
	h.Run("install", "-d", "-o", "cmk-agent", "-g", "cmk-agent", "/var/lib/cmk-agent")
	h.Write(registration, 0o600, []byte("the site\n"))
	h.Run("chown", "cmk-agent:cmk-agent", registration)

	// Checkmk's own package gives way.
	h.Copy("/root/vendor.deb", 0o644, filepath.Join(o.repo, "vendor/check-mk-agent.deb"))
	h.Run("dpkg", "--install", "/root/vendor.deb")
	h.Run("dpkg", "--install", "/root/web01.deb")
	if out, err := h.Try("dpkg-query", "--show", "--showformat=${db:Status-Status}", "check-mk-agent"); err == nil && out == "installed" {
		t.Errorf("two packages have the agent: dpkg calls the other one %q", out)
	}
	steps("an installation", "pretrans install ", "preinst install steps", "postinst install steps", "posttrans install steps")
	for file, want := range map[string]string{"/etc/steps/token": "640 steps:readers", "/etc/check_mk/encryption.cfg": "600 cmk:root", "/etc/check_mk/mrpe.cfg": "640 root:cmk"} {
		if got := strings.TrimSpace(h.Run("stat", "--format=%a %U:%G", file)); got != want {
			t.Errorf("%s is %s, want %s", file, got, want)
		}
	}
	if got := h.Run("id", "steps"); !strings.Contains(got, "(adm)") {
		t.Errorf("the user is %s", got)
	}

	door := netip.AddrPortFrom(h.Addr, 6556).String()
	first := answer(t, door)
	for _, want := range []string{"<<<check_mk>>>\nVersion: stand-in\nUser: cmk\nEncrypted: yes 13\n", "<<<plain>>>\none\n", "<<<local>>>\n0 mine - fine\n", "<<<mrpe>>>\nA%20check (interval=300) well\n"} {
		if !strings.Contains(first, want) {
			t.Errorf("the agent does not say %q:\n%s", want, first)
		}
	}
	until(t, h, func() bool { return strings.Contains(answer(t, door), "cached for 120\n<<<slow>>>\n") })

	beats := func() int { return strings.Count(h.Run("cat", "/var/cache/steps/count"), "\n") }
	until(t, h, func() bool { _, err := h.Try("test", "-s", "/var/cache/steps/beat"); return err == nil })
	seen := beats()
	until(t, h, func() bool { return beats() > seen+1 })
	if got := h.Run("cat", "/var/cache/steps/beat"); got != "one by steps with token\n" {
		t.Errorf("the interval's output is %q", got)
	}

	// An upgrade: what comes next is new.
	o.replace("hosts/rules.cue", "echo one", "echo two")
	o.replace("hosts/rules.cue", "steps: [{value: {}}]", `steps: [{value: beat: "two"}]`)
	release("Another word")
	h.Run("dpkg", "--install", "/root/web01.deb")
	steps("an upgrade", "prerm upgrade steps", "pretrans upgrade steps", "preinst upgrade steps", "postrm upgrade steps", "postinst upgrade steps", "posttrans upgrade steps")
	until(t, h, func() bool { got, err := dial(door); return err == nil && strings.Contains(got, "<<<plain>>>\ntwo\n") })
	until(t, h, func() bool { return strings.HasPrefix(h.Run("cat", "/var/cache/steps/beat"), "two by steps") })
	if out := h.Run("dpkg", "--verify", "bakehouse-agent"); out != "" {
		t.Errorf("dpkg finds the installed package altered:\n%s", out)
	}

	// What is gone stops, and does not count as failed.
	o.replace("hosts/rules.cue", `beat: "two"`, "enabled: false")
	release("Without the steps")
	h.Run("dpkg", "--install", "/root/web01.deb")
	h.Run("rm", "/root/steps")
	until(t, h, func() bool { got, _ := h.Try("systemctl", "is-active", "steps-beat.timer"); return got == "inactive\n" })
	o.replace("hosts/rules.cue", "enabled: false", `beat: "three"`)

	// Who is not named by only_from does not get through, if this kernel lets systemd filter at all.
	o.replace("hosts/rules.cue", h.Gateway.String()+" ", "")
	release("Others may connect")
	h.Run("dpkg", "--install", "/root/web01.deb")
	if got := h.Run("systemctl", "show", "--property=IPAddressAllow", "--value", "checkmk.socket"); strings.TrimSpace(got) != "192.0.2.0/24" {
		t.Errorf("the socket lets through %q", got)
	}
	if filters(h) {
		until(t, h, func() bool { got, err := dial(door); return err != nil || got == "" })
	} else {
		t.Log("this machine has version 1 of control groups, where systemd filters no addresses: only_from is not tried")
	}
	h.Run("rm", "/root/steps")

	// With the controller, a registration of before the switch is valid, and nobody else reads what the agent says.
	o.replace("hosts/rules.cue", `agent: {`,
		`controller: {archive: "vendor/check-mk-agent.deb", member: "usr/bin/cmk-agent-ctl"}
		agent: {`)
	o.replace("hosts/rules.cue", `only_from:`, "//")
	release("With the controller")
	h.Run("dpkg", "--install", "/root/web01.deb")
	until(t, h, func() bool {
		got, err := dial(door)
		return err == nil && strings.HasPrefix(got, "by cmk-agent for the site\n")
	})
	if got := answer(t, door); !strings.Contains(got, "User: cmk\n") ||
		!strings.Contains(got, "Remote: "+h.Gateway.String()+"\n") {
		t.Errorf("the agent says by its controller\n%s", got)
	}
	if got := h.Run("stat", "--format=%a %U %n", registration, "/run/check-mk-agent.socket"); got != "600 cmk-agent "+
		registration+"\n600 cmk-agent /run/check-mk-agent.socket\n" {
		t.Error(got)
	}
	h.Run("rm", "/root/steps")

	h.Run("dpkg", "--remove", "bakehouse-agent")
	if got := h.Run("cat", registration); got != "the site\n" {
		t.Errorf("after a removal the registration is %q", got)
	}
	steps("a removal", "prerm remove steps", "postrm remove steps")
	until(t, h, func() bool { _, err := dial(door); return err != nil })
	if got, _ := h.Try("systemctl", "is-active", "steps-beat.timer", "checkmk.socket"); got != "inactive\ninactive\n" {
		t.Errorf("after the removal, systemd calls timer and socket\n%s", got)
	}
	h.Run("id", "cmk") // its files may still be there
}

// vendorAgent makes a deb as Checkmk's is laid out, with the stand-in for its script.
func vendorAgent(t *testing.T, to string) {
	t.Helper()
	needs.Tool(t, "dpkg-deb")
	dir := t.TempDir()
	for name, text := range map[string]string{
		"DEBIAN/control":         "Package: check-mk-agent\nVersion: 2.3.0-1\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\nDescription: a stand-in\n",
		"usr/bin/check_mk_agent": agentStandIn,
		"usr/bin/cmk-agent-ctl":  controllerStandIn,
		// Its units leave with it, after ours came.
		"lib/systemd/system/check-mk-agent.socket":   "[Socket]\nListenStream=6556\nAccept=yes\n",
		"lib/systemd/system/check-mk-agent@.service": "[Service]\nExecStart=/usr/bin/check_mk_agent\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "dpkg-deb", "--root-owner-group", "--build", dir, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// answer is what a monitoring server reads.
func answer(t *testing.T, addr string) string {
	t.Helper()
	text, err := dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func dial(addr string) (string, error) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return "", err
	}
	b, err := io.ReadAll(conn)
	return string(b), err
}

// filters reports whether systemd can have the kernel drop packets: that takes version 2 of control groups.
func filters(h *realhost.Host) bool {
	_, err := h.Try("test", "-e", "/sys/fs/cgroup/cgroup.controllers")
	return err == nil
}
