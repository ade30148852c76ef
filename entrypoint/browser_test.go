package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// A browser is a window of a real one that shows the page of a program.
type browser struct {
	t   *testing.T
	ctx context.Context
}

// chromium is where Debian and others keep it. Without it these tests fail: the
// page was not tested then.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "headless-shell"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("the page is tested in a real browser, and there is no chromium: run make test-deps, or apt-get install chromium")
	return ""
}

// step is one thing that is done in a browser.
type step = chromedp.Action[chromedp.Void]

// browse opens url in a window of a size. What the page logs as an error, or
// does not catch, fails the test.
func browse(t *testing.T, url string, width, height int64) *browser {
	t.Helper()
	flags := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(int(width), int(height)),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(patience))
	all, stop := chromedp.NewExecAllocator(context.Background(), flags...)
	t.Cleanup(stop)
	ctx, leave := chromedp.NewContext(all, chromedp.WithListener(func(e any) {
		switch e := e.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("the page has thrown: %s: %s", e.ExceptionDetails.Text, description(e.ExceptionDetails))
		case *log.EventEntryAdded:
			if e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceNetwork {
				t.Errorf("the page has logged: %s %s", e.Entry.Text, e.Entry.URL)
			}
		}
	}))
	t.Cleanup(leave)
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, height), chromedp.Navigate(url)); err != nil {
		t.Fatalf("open %s in chromium: %v", url, err)
	}
	return &browser{t, ctx}
}

func description(e *runtime.ExceptionDetails) string {
	if e.Exception == nil {
		return ""
	}
	return e.Exception.Description
}

// do does what must succeed.
func (b *browser) do(what string, steps ...step) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.shoot("unexpected")
		b.t.Fatalf("%s: %v", what, err)
	}
}

// eval evaluates an expression of the page, and waits for what it promises.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.shoot("unexpected")
		b.t.Fatalf("evaluate %s: %v", expression, err)
	}
	return v
}

// until waits until an expression of the page is true.
func (b *browser) until(what, expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	look := `new Promise(done => { const look = () => { try { if (` + expression + `) return done(true) } catch {} setTimeout(look, 25) }; look() })`
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[bool](look, chromedp.EvalAwaitPromise)); err != nil {
		b.shoot("unexpected")
		b.t.Fatalf("the page does not come to show %s (%v); it says:\n%s", what, err, b.text("body"))
	}
}

// text is what an element shows.
func (b *browser) text(selector string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector))
}

func (b *browser) click(selector string) {
	b.t.Helper()
	b.do("click on "+selector, chromedp.Click(chromedp.CSS(selector)))
}

// enter types a text into a field.
func (b *browser) enter(selector, text string) {
	b.t.Helper()
	b.do("type into "+selector, chromedp.SendKeys(chromedp.CSS(selector), text))
}

// keys presses keys, wherever the focus is.
func (b *browser) keys(text string, options ...chromedp.KeyOption) {
	b.t.Helper()
	b.do("press "+text, chromedp.KeyEvent(text, options...))
}

// shoot keeps a picture of the page in out/screenshots, for people.
func (b *browser) shoot(name string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	dir := filepath.Join("..", "out", "screenshots")
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		name = strings.ReplaceAll(b.t.Name(), "/", "_") + "-" + name + ".png"
		err = os.WriteFile(filepath.Join(dir, name), picture, 0o644)
	}
	if err != nil {
		b.t.Logf("no screenshot: %v", err)
	}
}

// scheme makes the system's colours dark or light.
func (b *browser) scheme(value string) {
	b.t.Helper()
	b.do(value, func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}},
		})
		return chromedp.Void{}, err
	})
}
