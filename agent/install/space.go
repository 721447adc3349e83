package install

// reserve is left free on a disk that we write to.
const reserve = 16 << 20

// CheckSpace says so if dir's file system cannot take n more bytes, before anything is written. Where Go's library does not
// ask the system (AIX, Solaris), a disk that is full is found by the write that fails.
func CheckSpace(dir string, n int64) error { return checkSpace(dir, n) }
