package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const arMagic = "!<arch>\n"

// debData finds the files of a Debian package (deb(5)): the member data.tar of an ar archive, after debian-binary and
// control.tar. Members that begin with "_" may stand anywhere after the first.
func debData(r io.ReaderAt, size int64) (from, n int64, err error) {
	var names []string
	head := make([]byte, 60)
	for at := int64(len(arMagic)); at < size; {
		if _, err := r.ReadAt(head, at); err != nil {
			return 0, 0, early(err)
		}
		name := strings.TrimSuffix(strings.TrimRight(string(head[:16]), " "), "/")
		length, err := strconv.ParseInt(strings.TrimRight(string(head[48:58]), " "), 10, 64)
		if err != nil || length < 0 || string(head[58:]) != "`\n" {
			return 0, 0, errors.New("an ar archive with a damaged header")
		}
		if at += int64(len(head)); length > size-at {
			return 0, 0, io.ErrUnexpectedEOF
		}
		stem, _, _ := strings.Cut(name, ".tar")
		switch {
		case strings.HasPrefix(name, "_") && len(names) > 0:
			stem = ""
		case len(names) == 0:
			version := make([]byte, 2)
			if _, err := r.ReadAt(version, at); name != "debian-binary" || err != nil || !bytes.Equal(version, []byte("2.")) {
				return 0, 0, errors.New("an ar archive, but no Debian package of version 2")
			}
		case len(names) == 1 && stem == "control":
		case len(names) == 2 && stem == "data":
			from, n = at, length
		default:
			return 0, 0, fmt.Errorf("member %.40q is not what a Debian package has there", name)
		}
		if stem != "" {
			names = append(names, name)
		}
		if len(names) > 3 {
			return 0, 0, fmt.Errorf("member %.40q is not what a Debian package has there", name)
		}
		at += length + length&1
	}
	if from == 0 {
		return 0, 0, errors.New("a Debian package without data.tar")
	}
	return from, n, nil
}

// early is what an end of the archive means where more must come.
func early(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
