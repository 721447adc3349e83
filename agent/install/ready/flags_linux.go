package ready

// Of statfs(2).
const (
	flagReadOnly = 0x1
	flagNoexec   = 0x8
)
