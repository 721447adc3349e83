// Package command has the verbs of `bakehouse` that an operator's machine runs, one file each: flags, help, and what is
// printed. The work is done by the packages below, whose functions return values.
package command
