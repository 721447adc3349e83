package msi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf16"

	"bakehouse/agent/process"
	"bakehouse/schema/fault"
)

// What the installer ends with: the codes of msiexec.
const (
	success        = 0
	userExit       = 1602
	failure        = 1603
	suspended      = 1604
	unavailable    = 1601 // the installer's service cannot be reached
	sourceAbsent   = 1612 // of the product before: its file was removed from Windows' own cache
	running        = 1618 // another installation is under way
	openFailed     = 1619
	invalid        = 1620
	uiFailed       = 1621
	logFailed      = 1622
	rejected       = 1625 // by policy
	functionFailed = 1627 // Wine's 1603
	unsupported    = 1633 // on this processor
	otherVersion   = 1638 // another version of this product is installed
	commandLine    = 1639
	rebootStarted  = 1641
	rebootNeeded   = 3010
	serviceFailed  = 1719 // as unavailable, but in the log of a 1603
)

// What each code says that is not 0, for people.
var meanings = map[uint32]string{
	userExit:       "it was cancelled",
	failure:        "it failed",
	suspended:      "it was suspended",
	unavailable:    "the Windows Installer service cannot be reached",
	sourceAbsent:   "Windows has lost its copy of the package that is installed",
	running:        "another installation is under way",
	openFailed:     "the file cannot be opened",
	invalid:        "the file is no valid package",
	uiFailed:       "it has no user interface",
	logFailed:      "the log cannot be written",
	rejected:       "a policy of this host forbids it",
	functionFailed: "it failed",
	unsupported:    "the package is for another processor",
	otherVersion:   "another package with the same product code is installed",
	commandLine:    "it does not understand its arguments",
}

var hints = map[uint32]string{
	unavailable:  "see whether the service msiserver may run; nothing was changed, and the next update tries again",
	running:      "nothing was changed, and the next update tries again",
	rejected:     "allow it: the policy DisableMSI, or a list of allowed programs; nothing was changed",
	sourceAbsent: "the package is installed again from what this host keeps",
}

// untouched are codes after which what was installed is there as before.
var untouched = []uint32{userExit, unavailable, running, openFailed, invalid, uiFailed, logFailed, rejected,
	unsupported, commandLine}

// ofRelease are codes by which the package itself is at fault, on every host.
var ofRelease = []uint32{invalid, unsupported}

// verdict is what an ending of the installer means.
type verdict struct {
	done      bool // it says that the package is installed
	untouched bool // it says that nothing was changed
	release   bool // the package is at fault
	code      uint32
	log       []byte
	failed    error // it could not be run, or did not end
}

// ending judges the code, the log and the error of one run.
func ending(code uint32, log []byte, err error) verdict {
	v := verdict{code: code, log: log, failed: err}
	switch {
	case errors.Is(err, errHung):
	case err != nil:
		v.untouched = true
	case code == success || code == rebootNeeded || code == rebootStarted:
		v.done = true
	default:
		for _, c := range untouched {
			v.untouched = v.untouched || c == code
		}
		v.untouched = v.untouched || busy(code, log)
		for _, c := range ofRelease {
			v.release = v.release || c == code
		}
		number, action := failedAt(log)
		v.release = v.release || number == "1920" || action == "StartServices"
	}
	return v
}

// busy reports whether the installer could not begin, and may later.
func busy(code uint32, log []byte) bool {
	number, _ := failedAt(log)
	return code == running || code == unavailable || code == serviceFailed ||
		code == failure && number == fmt.Sprint(serviceFailed)
}

// err is what is said of an ending that is not good.
func (v verdict) err(limit time.Duration) error {
	if errors.Is(v.failed, errHung) {
		return fault.Hint(fmt.Errorf("msiexec was stopped after %s", limit), "the last lines of its log:\n%s",
			process.Tail(v.log))
	}
	if v.failed != nil {
		return fmt.Errorf("msiexec: %w", v.failed)
	}
	what := meanings[v.code]
	if what == "" {
		what = "it failed"
	}
	number, action := failedAt(v.log)
	if action != "" {
		what += ", in " + action
	}
	if number != "" {
		what += ", error " + number
	}
	err := fmt.Errorf("msiexec ended with %d: %s", v.code, what)
	if hint := hints[v.code]; hint != "" {
		return fault.Hint(err, "%s", hint)
	}
	return fault.Hint(err, "the last lines of its log:\n%s", process.Tail(v.log))
}

// What a log says in every language: the number of an error, and the action that returned 3, which is a failure.
var (
	errorNumber = regexp.MustCompile(`(?m)\b(1[0-9]{3}|2[0-9]{3})\. ?[\p{L}]`)
	returned3   = regexp.MustCompile(`(?m): ([A-Z]\w+)\. \P{N}* ?3\.\s*$`)
)

// failedAt is the last error that a log names, and the first action that failed; empty if it says nothing.
func failedAt(log []byte) (number, action string) {
	if all := errorNumber.FindAllSubmatch(log, -1); len(all) > 0 {
		number = string(all[len(all)-1][1])
	}
	if m := returned3.FindSubmatch(log); m != nil {
		action = string(m[1])
	}
	return number, action
}

// text is a log as UTF-8: msiexec writes UTF-16 with a mark.
func text(log []byte) []byte {
	if len(log) < 2 || log[0] != 0xff || log[1] != 0xfe {
		return log
	}
	units := make([]uint16, 0, len(log)/2)
	for b := log[2:]; len(b) >= 2; b = b[2:] {
		units = append(units, binary.LittleEndian.Uint16(b))
	}
	return []byte(strings.ReplaceAll(string(utf16.Decode(units)), "\r\n", "\n"))
}
