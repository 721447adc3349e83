// Package report is what a host says of itself to whoever looks at it there: one Status, and its renderers. What a host
// tells its server is package agent's.
//
// StateDir is for root alone. So that monitoring, and people who are not root, see the same, each command of root that
// changes something, and the service when it starts, leaves a summary without secrets: StatusFile, mode 0644. It is
// below /run, not below /var: what ends most updates for long is a disk that is full or has become read-only, and then
// the summary must still be written to say so; and after a boot nothing of before is there to be taken for news.
//
// What depends on the time, such as that no check has come for too long, is judged when it is read (Status.Judge), by
// root and others alike: a summary that nobody writes any more becomes overdue by itself.
package report
