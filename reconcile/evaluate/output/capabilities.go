package output

import (
	"slices"
	"strings"

	"bakehouse/reconcile/evaluate/result"
)

// known are Linux's capabilities (capabilities(7)), without "cap_".
var known = strings.Fields("chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap " +
	"linux_immutable net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio " +
	"sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease " +
	"audit_write audit_control setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read " +
	"perfmon bpf checkpoint_restore")

// capabilities reads what whoever executes a file may do.
func (d *decoder) capabilities(file string, list *result.Node, tree bool) (out []string) {
	switch {
	case tree:
		d.refuse(list, "file %s: a tree has no capabilities: give the file that needs them a path of its own", file)
	case d.in.Platform.OS != "linux":
		d.refuse(list, "file %s: there are capabilities on Linux only, and this is for %s", file, d.in.Platform)
	}
	for _, item := range list.Parts {
		if name, ok := strings.CutPrefix(item.Text, "cap_"); !ok || !slices.Contains(known, name) {
			d.refuse(item, "file %s: %s is no capability: they are called cap_net_raw and so on, see capabilities(7)",
				file, result.Quote(item.Text))
		}
		out = append(out, item.Text)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
