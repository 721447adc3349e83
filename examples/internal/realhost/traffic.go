package realhost

import (
	"os"
	"strconv"
	"strings"
)

// Received is how many bytes the host has received over its link since it booted, with all headers below and above IP.
func (h *Host) Received() int64 {
	h.t.Helper()
	b, err := os.ReadFile("/sys/class/net/" + h.link + "/statistics/tx_bytes") // what our end sent
	if err != nil {
		h.t.Fatal(err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}
