//go:build darwin || freebsd

package ready

// MNT_RDONLY and MNT_NOEXEC of sys/mount.h.
const (
	flagReadOnly = 0x1
	flagNoexec   = 0x4
)
