// Package owned tells whether a directory is the updater's own: that nobody else could have put it there or can write
// to it. What is in such a directory decides which server is trusted, and what is run as root or as the system.
package owned
