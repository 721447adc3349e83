// Package durable changes files so that a crash, a full disk or a power cut leaves the old or the new state, never
// something between, and so that a change that was reported as done stays done. The store keeps its objects through it
// and the host program its state. It links the standard library only.
//
// What a call guarantees when it returns nil: the new state survives the machine's death. When it returns an error:
// the file is as before or as asked for, whole in both cases; the same call may be tried again. The system calls are:
//
//	WriteFile  open(O_CREAT|O_EXCL) write fchmod fsync close   of a temporary file beside the target, then
//	           rename to the target, fsync of the directory
//	Create     the same file, then link to the target (fails if that exists, which rename would not),
//	           unlink of the temporary name, fsync of the directory
//	Symlink    symlink under a temporary name, rename, fsync of the directory
//	Rename     rename, fsync of both directories
//	Remove     unlink, fsync of the directory
//	Batch      the files of many WriteFile, then fsync of each or one sync of the file system, the renames in their
//	           order, fsync of each directory
//	Unlink     unlink; SyncDir is the caller's
//	MkdirAll   for each missing level: mkdir, fsync of its parent
//
// The holes that remain. Another process sees a new name a moment before the directory is synced, so what it saw can
// be gone after a power cut; Create closes this for those who meet fs.ErrExist, by syncing before it says so. After a
// failed fsync Linux drops the dirty pages: nothing here reads back what it wrote, the file is discarded. A disk that
// lies about flushing is beyond any program. Windows cannot sync a directory, and file systems that refuse to (EINVAL,
// ENOTSUP) are taken at their word that they need not; there, names are as durable as their journal makes them. Windows
// writes a renamed file's name through, though, and has calls fail while others hold a file open: those are tried again
// for a while, and Open is how to read without being in anybody's way.
//
// A crash can leave temporary files, which nothing ever reads; Sweep removes them.
package durable
