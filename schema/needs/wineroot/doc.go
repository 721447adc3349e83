// Package wineroot gives tests a Windows that is Wine's: a Debian root of the tests' own with Wine for amd64 and 386,
// never the home directory of whoever runs them. Each host is an overlay in memory over one prefix that is made once
// per machine, and everything that runs in it dies with the test.
//
// What Wine proves and what it cannot is said in README: its installer has no rollback of upgrades, no lock, no access
// control worth the name.
package wineroot
