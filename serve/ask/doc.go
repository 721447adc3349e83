// Package ask has the commands that ask a server: over HTTPS, with --server and a user's credentials, or on the
// server's machine itself by its files, where whoever may read and write them may do anything.
//
//	client.go  one request to a server
//	flags.go   which server, as whom; the files of the one on this machine
//	token.go, host.go, audit.go, rollout.go  one file per verb
package ask
