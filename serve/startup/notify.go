package startup

import (
	"net"
	"os"
	"strconv"
	"time"
)

// Notify tells systemd how the service is (sd_notify(3)), if it asked for that: NOTIFY_SOCKET is set where the unit has
// Type=notify. What it cannot be told changes nothing here.
func Notify(state string) {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return
	}
	c, err := net.Dial("unixgram", socket) // @ is the abstract name space, for net too
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = c.Write([]byte(state))
}

// What systemd is told.
const (
	Verifying = "STATUS=Verifying the release; hosts are asked to come again"
	Ready     = "READY=1\nSTATUS=Serving hosts"
	Reloading = "RELOADING=1"
	Stopping  = "STOPPING=1\nSTATUS=Answering the requests in flight"
	Alive     = "WATCHDOG=1"
)

// Watchdog is how often systemd wants to hear that the program is alive, at least; 0: it does not.
func Watchdog() time.Duration {
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if pid := os.Getenv("WATCHDOG_PID"); err != nil || usec <= 0 || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	return time.Duration(usec) * time.Microsecond
}
