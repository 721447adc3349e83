// Command browser does in Chromium what a script on standard input says, a line after the other, and ends with an error
// where something is not as the script says, or the page broke a rule of its own: an error in the console, a script that
// threw, something that the content security policy stopped.
//
//	open PATH              of the server
//	size WIDTH             of the window
//	theme light|dark       that the system asks for
//	click SELECTOR         with the mouse
//	press KEY              such as j, /, Enter
//	type TEXT              where the focus is
//	wait SELECTOR TEXT     until the element has the text
//	gone SELECTOR          until there is none
//	at PATH                until the address begins so
//	focus SELECTOR         the element that has the focus
//	expect TEXT            from here on, an error in the console that has the text is right
//	axe                    no violation of axe-core
//	fits                   the page does not scroll sideways
//	shot NAME              a picture of the whole page, if there is a directory for it
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is how long something may take on a machine that does other things, too.
const patience = 30 * time.Second

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

type browser struct {
	ctx        context.Context
	url, shots string
	axe        string // its source
	height     int64
	mu         sync.Mutex
	wrong      []string // what the page did
	expected   []string // parts of what is right
}

func run() error {
	chromium := flag.String("chromium", "chromium", "the browser")
	url := flag.String("url", "", "of the server")
	key := flag.String("spki", "", "SHA-256 of the public key of its certificate, base64")
	axe := flag.String("axe", "", "axe.min.js")
	shots := flag.String("shots", "", "directory for pictures")
	profile := flag.String("profile", "", "empty directory for the browser's own files")
	flag.Parse()
	source, err := os.ReadFile(*axe)
	if err != nil {
		return err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(*chromium), chromedp.NoSandbox,
		chromedp.DisableGPU, chromedp.UserDataDir(*profile), chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("ignore-certificate-errors-spki-list", *key))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithErrorf(func(string, ...any) {})) // of events that are new to it
	defer cancel()
	b := &browser{ctx: ctx, url: *url, shots: *shots, axe: string(source), height: 900}
	chromedp.ListenTarget(ctx, b.listen)
	if err := chromedp.Run(ctx, log.Enable(), runtime.Enable()); err != nil {
		return err
	}
	in := bufio.NewScanner(os.Stdin)
	for n := 1; in.Scan(); n++ {
		line := strings.TrimSpace(in.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := b.do(line); err != nil {
			_ = b.shot("failed")
			return fmt.Errorf("line %d: %s: %w", n, line, err)
		}
	}
	return in.Err()
}

// listen keeps what a page must not do.
func (b *browser) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *log.EventEntryAdded:
		text := e.Entry.Text + " " + e.Entry.URL
		expected := slices.ContainsFunc(b.expected, func(part string) bool { return strings.Contains(text, part) })
		if e.Entry.Level == log.LevelError && !expected {
			b.wrong = append(b.wrong, text)
		}
	case *runtime.EventExceptionThrown:
		b.wrong = append(b.wrong, e.ExceptionDetails.Error())
	}
}

func (b *browser) do(line string) error {
	verb, rest, _ := strings.Cut(line, " ")
	first, second, _ := strings.Cut(rest, " ")
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	var err error
	switch verb {
	case "open":
		err = chromedp.Run(ctx, chromedp.Navigate(b.url+rest))
	case "size":
		var width int64
		if width, err = strconv.ParseInt(rest, 10, 64); err == nil {
			err = chromedp.Run(ctx, chromedp.EmulateViewport(width, b.height))
		}
	case "theme":
		err = chromedp.Run(ctx, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: rest}, {Name: "prefers-reduced-motion", Value: "reduce"}}))
	case "click":
		err = chromedp.Run(ctx, chromedp.Click(rest, chromedp.ByQuery))
	case "press":
		err = chromedp.Run(ctx, press(rest)...)
	case "type":
		err = chromedp.Run(ctx, chromedp.KeyEvent(rest))
	case "wait":
		err = b.until(ctx, "document.querySelector(%s)?.textContent.includes(%s)", first, second)
	case "gone":
		err = b.until(ctx, "document.querySelector(%s) === null", rest)
	case "at":
		err = b.until(ctx, "(location.pathname + location.search).startsWith(%s)", rest)
	case "focus":
		err = b.until(ctx, "document.activeElement?.matches(%s)", rest)
	case "fits":
		err = b.until(ctx, "document.documentElement.scrollWidth <= document.documentElement.clientWidth")
	case "axe":
		err = b.check(ctx)
	case "expect":
		b.mu.Lock()
		b.expected = append(b.expected, rest)
		b.mu.Unlock()
	case "shot":
		err = b.shot(rest)
	default:
		err = errors.New("unknown verb")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil && len(b.wrong) > 0 {
		err = errors.New(strings.Join(b.wrong, "\n"))
	}
	return err
}

// press is a key down, with its text in the same event so that a page can stop both, and up.
func press(key string) []chromedp.Action {
	text, code := key, int64(0)
	switch key {
	case "Enter":
		text, code = "\r", 13
	case "Escape":
		text, code = "", 27
	}
	event := func(t input.KeyType) *input.DispatchKeyEventParams {
		return input.DispatchKeyEvent(t).WithKey(key).WithWindowsVirtualKeyCode(code)
	}
	return []chromedp.Action{event(input.KeyDown).WithText(text), event(input.KeyUp)}
}

// until waits for an expression to be true; its arguments are written as strings.
func (b *browser) until(ctx context.Context, expression string, args ...string) error {
	quoted := make([]any, len(args))
	for i, a := range args {
		j, err := json.Marshal(a)
		if err != nil {
			return err
		}
		quoted[i] = string(j)
	}
	expression = fmt.Sprintf(expression, quoted...)
	poll := chromedp.Poll("document.readyState === 'complete' && "+expression, nil)
	err := chromedp.Run(ctx, poll)
	for err != nil && strings.Contains(err.Error(), "(-32000)") && ctx.Err() == nil { // another page came meanwhile
		err = chromedp.Run(ctx, poll)
	}
	if err == nil || b.ctx.Err() != nil {
		return err
	}
	var at, text string
	_ = chromedp.Run(b.ctx, chromedp.Evaluate("location.href", &at), chromedp.Evaluate("document.body.innerText", &text))
	return fmt.Errorf("%w; at %s: %.2000s", err, at, text)
}

// violation is what axe-core says of a rule.
type violation struct {
	ID    string
	Help  string
	Nodes []struct{ HTML, FailureSummary string }
}

func (b *browser) check(ctx context.Context) error {
	var found []violation
	err := chromedp.Run(ctx, chromedp.Evaluate(b.axe+";0", nil),
		chromedp.Evaluate("axe.run().then(r => r.violations)", &found,
			func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	if err != nil {
		return err
	}
	var all []error
	for _, v := range found {
		for _, n := range v.Nodes {
			all = append(all, fmt.Errorf("%s (%s): %.300s: %s", v.ID, v.Help, n.HTML, n.FailureSummary))
		}
	}
	return errors.Join(all...)
}

func (b *browser) shot(name string) error {
	if b.shots == "" {
		return nil
	}
	var png []byte
	if err := chromedp.Run(b.ctx, chromedp.FullScreenshot(&png, 100)); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.shots, name+".png"), png, 0o644)
}
