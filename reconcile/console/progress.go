package console

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Progress shows how far a long piece of work is: on a terminal by a bar that is drawn over and gone at the end,
// elsewhere by a line every few seconds, so that a log stays short and quick work leaves no trace. It is safe for
// concurrent use.
type Progress struct {
	what  string
	total int
	now   func() time.Time

	mu    sync.Mutex
	w     io.Writer
	bar   bool
	every time.Duration
	done  int
	begun time.Time
	last  time.Time // when something was written
}

const (
	barEvery  = 100 * time.Millisecond
	lineEvery = 5 * time.Second
	barWidth  = 30
)

// NewProgress begins a piece of work of total steps; what is a word such as "baking".
func NewProgress(w io.Writer, what string, total int) *Progress {
	p := &Progress{what: what, total: total, now: time.Now, w: w, every: lineEvery}
	if levelOf(w) < Normal {
		p.w = io.Discard
	} else if onTerminal(w) {
		p.bar, p.every = true, barEvery
	}
	p.begun = p.now()
	p.last = p.begun
	return p
}

// Step notes that one more is done; item says which, and may be empty.
func (p *Progress) Step(item string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	now := p.now()
	if now.Sub(p.last) < p.every {
		return
	}
	p.last = now
	if !p.bar {
		fmt.Fprintf(p.w, "bakehouse: %s: %d of %d%s\n", p.what, p.done, p.total, p.left(now))
		return
	}
	filled := barWidth * p.done / max(p.total, 1)
	// A terminal narrower than this wraps, which looks odd and harms nothing.
	bar := strings.Repeat("#", filled) + strings.Repeat(".", barWidth-filled)
	fmt.Fprintf(p.w, "\r\x1b[K%s [%s] %d/%d%s %.30s", p.what, bar, p.done, p.total, p.left(now), item)
}

// left estimates the time that is left.
func (p *Progress) left(now time.Time) string {
	if p.done == 0 || p.done >= p.total {
		return ""
	}
	left := time.Duration(float64(now.Sub(p.begun)) / float64(p.done) * float64(p.total-p.done)).Round(time.Second)
	if left <= 0 {
		return ""
	}
	return fmt.Sprintf(", %s left", left)
}

// End takes the bar away.
func (p *Progress) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar && p.last != p.begun {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
