package services

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// WindowsService is a service as the tables of an installer package have it.
type WindowsService struct {
	Name, Description string
	Program           string // a file of the package
	Arguments         string // Formatted: [ProgramFiles] and [ProgramData] stand for folders, a backslash at their end
	Start             bool   // at installation and at boot
}

// The names of folders in WindowsService.Arguments.
const (
	ProgramFiles = "[ProgramFiles]"
	ProgramData  = "[ProgramData]"
)

// Windows renders a service for Windows, whose manager starts it: its program speaks the protocol of services. The
// error says what cannot be said there. Paths below /Program Files and /ProgramData in its arguments become those of
// the host.
func Windows(s fleet.Service) (w WindowsService, err error) {
	switch {
	case schema.CheckName(s.Name) != nil:
		err = schema.CheckName(s.Name)
	case s.EnvironmentFile != "":
		err = errors.New("Windows gives a service no environment file: use arguments")
	case s.User != "" && s.User != "root":
		err = errors.New("on Windows, services run as LocalSystem, which is what root stands for")
	case len(s.Listen) > 0:
		err = errors.New("what is started for each connection (listen) is not made for windows")
	case s.Directories != fleet.Directories{}:
		err = errors.New("directories are made by systemd only")
	case len(s.Allow) > 0:
		err = errors.New("who may connect (allow) is seen to by systemd only")
	}
	if err != nil {
		return w, err
	}
	words, err := windowsWords(s.Exec)
	if err != nil {
		return w, fmt.Errorf("command line %.120q: %w", s.Exec, err)
	}
	w = WindowsService{Name: s.Name, Description: s.Description, Program: path.Clean(words[0]), Start: s.Enable}
	for i, word := range words[1:] {
		if i > 0 {
			w.Arguments += " "
		}
		w.Arguments += windowsWord(word)
	}
	if len(w.Arguments) > 255 {
		return w, errors.New("a Windows service takes 255 characters of arguments")
	}
	return w, nil
}

// windowsWords parts a command line as systemd does. Variables, escapes and specifiers are refused.
func windowsWords(exec string) (words []string, err error) {
	for rest := strings.TrimSpace(exec); rest != ""; rest = strings.TrimLeft(rest, " \t") {
		var b strings.Builder
		n := 0
		for n < len(rest) && rest[n] != ' ' && rest[n] != '\t' {
			switch c := rest[n]; {
			case strings.HasPrefix(rest[n:], "%%"), strings.HasPrefix(rest[n:], "$$"):
				b.WriteByte(c)
				n += 2
			case c == '%', c == '$', c == '\\':
				return nil, fmt.Errorf("%q means something to systemd only", rest[n:min(len(rest), n+2)])
			case c == '\'', c == '"':
				inner, _, closed := strings.Cut(rest[n+1:], string(c))
				if !closed || strings.ContainsAny(inner, `\$%`) {
					return nil, errors.New("what is quoted there, systemd alone reads")
				}
				b.WriteString(inner)
				n += len(inner) + 2
			default:
				b.WriteByte(c)
				n++
			}
		}
		words, rest = append(words, b.String()), rest[n:]
	}
	for _, w := range words {
		if !argument.MatchString(w) {
			return nil, fmt.Errorf("the argument %.80q has quotation marks, brackets or other than ASCII, which "+
				"Windows Installer takes for more than text", w)
		}
	}
	if len(words) == 0 || !strings.HasPrefix(words[0], "/") {
		return nil, errors.New("it does not start with an absolute path")
	}
	return words, nil
}

// argument is what Windows Installer and the C runtime take as it is: ASCII but for "[\]{}.
var argument = regexp.MustCompile(`^[ !#-Z^-z|~]*$`)

// place is the beginning of a path, at the start of a word or behind "=".
var place = regexp.MustCompile(`(^|=)(` + schema.WindowsPrograms + `|` + schema.WindowsData + `)/(.+)$`)

// windowsWord is an argument for the C runtime's rules, with the host's paths in it.
func windowsWord(w string) string {
	quoted := w == "" || strings.ContainsAny(w, " \t")
	if m := place.FindStringSubmatchIndex(w); m != nil {
		folder := ProgramFiles
		if w[m[4]:m[5]] == schema.WindowsData {
			folder = ProgramData
		}
		quoted = quoted || folder == ProgramFiles // whose name has a blank
		w = w[:m[4]] + folder + strings.ReplaceAll(w[m[6]:m[7]], "/", `\`)
	}
	if quoted {
		return `"` + w + strings.Repeat(`\`, len(w)-len(strings.TrimRight(w, `\`))) + `"`
	}
	return w
}
