package realhost

// Leader is the PID of the host's systemd.
func (h *Host) Leader() string { return h.leader }
