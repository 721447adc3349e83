package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"bakehouse/reconcile/evaluate/archive/stream"
)

// debData finds the files of a Debian package (deb(5)): the member data.tar of an ar archive, after debian-binary and
// control.tar. Members that begin with "_" may stand anywhere after the first.
func debData(r io.ReaderAt, size int64) (from, n int64, err error) {
	var names []string
	ar := stream.NewAr(io.NewSectionReader(r, 0, size))
	for {
		m, err := ar.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, 0, err
		}
		if m.Size > size-m.At {
			return 0, 0, io.ErrUnexpectedEOF
		}
		stem, _, _ := strings.Cut(m.Name, ".tar")
		switch {
		case strings.HasPrefix(m.Name, "_") && len(names) > 0:
			stem = ""
		case len(names) == 0:
			version := make([]byte, 2)
			_, err := io.ReadFull(ar, version)
			if m.Name != "debian-binary" || err != nil || !bytes.Equal(version, []byte("2.")) {
				return 0, 0, errors.New("an ar archive, but no Debian package of version 2")
			}
		case len(names) == 1 && stem == "control":
		case len(names) == 2 && stem == "data":
			from, n = m.At, m.Size
		default:
			return 0, 0, fmt.Errorf("member %.40q is not what a Debian package has there", m.Name)
		}
		if stem != "" {
			names = append(names, m.Name)
		}
		if len(names) > 3 {
			return 0, 0, fmt.Errorf("member %.40q is not what a Debian package has there", m.Name)
		}
	}
	if from == 0 {
		return 0, 0, errors.New("a Debian package without data.tar")
	}
	return from, n, nil
}
