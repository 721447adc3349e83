// Package msi installs packages by Windows Installer, and judges what came of it by what is there, not by what the
// installer says alone: it ends with 0 where the next boot destroys what it did, and with an error where all is well.
//
// One installation, in order:
//
//	hold       what an installation before left for the next boot is waited for; what others left is not
//	stop       the package's services, and every process that runs a file of ours: what runs cannot be replaced
//	install    msiexec from Windows' own directory, silent, without a boot, with a log; tried again while it is busy
//	look       is the package's product the only one of its name, and does the registry name its recipe
//	start      the services of what is there now, also if nothing was done
//
// Windows takes a failed installation back; elsewhere (Wine) nothing is left. Both are an error that is Touched, and
// the caller installs the package before. That a release is at fault is said only where one of its own services does
// not start: all else, from a full disk to a policy, is the host's.
//
// The decisions are in portable code, which asks a Windows; the real one is in the files for Windows.
package msi
