package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// A thousand jobs and ten thousand lines do not slow the page down.
func TestPageIsFastWithManyJobsAndLines(t *testing.T) {
	t.Parallel()
	p := serveLocally(t, map[string]string{"SIMCOMFY_STEP": "0s"})
	const jobs = 1000
	p.submitMany(jobs, `{"input":{"workflow":{"1":{"class_type":"SimText","inputs":{"text":"x"}}}}}`)
	b := browse(t, p.api, 1440, 900)
	b.until("all jobs", fmt.Sprintf(`document.querySelector("#jobs-filter button").textContent === "All %s"`, "1,000"))
	for range 3 {
		b.runJob(`{"1":{"class_type":"SimLog","inputs":{"lines":400,"bytes":80}}}`)
		b.until("its end", says+` === "Done"`)
	}
	b.flood()
	if rows := eval[int](b, `document.querySelectorAll(".job").length + document.querySelectorAll(".line").length`); rows > 150 {
		t.Errorf("%d rows exist, only those in view should", rows)
	}
	for _, list := range []string{"jobs-list", "log-lines"} {
		frames := eval[[]float64](b, fmt.Sprintf(`(async () => {
			const el = document.getElementById(%q), frames = [];
			let last = performance.now();
			for (let i = 0; i <= 60; i++) {
				el.scrollTop = el.scrollHeight * i / 60;
				await new Promise(requestAnimationFrame);
				const now = performance.now();
				frames.push(now - last);
				last = now;
			}
			return frames.sort((a, b) => a - b);
		})()`, list))
		t.Logf("%s: a frame takes %.0f ms, the slowest of 60 took %.0f ms", list, frames[30], frames[60])
		if frames[30] > 500 { // a tenth of that where nothing else runs
			t.Errorf("%s: a frame takes %.0f ms", list, frames[30])
		}
	}
	took := eval[float64](b, `(async () => {
		const t = performance.now(), el = document.getElementById("log-text");
		el.value = "line 77"; el.dispatchEvent(new Event("input"));
		await new Promise(requestAnimationFrame);
		return performance.now() - t;
	})()`)
	t.Logf("filtering 10,000 lines took %.0f ms", took)
	if took > 5000 {
		t.Errorf("filtering took %.0f ms", took)
	}
	b.shoot("many")
}

// flood gives the page ten thousand lines, as events would.
func (b *browser) flood() {
	b.t.Helper()
	eval[bool](b, `(async () => {
		const { state, changed } = await import("/console/state.js");
		for (let i = 0; i < 10000; i++) state.lines.push({at: Date.now(), instance: "comfyui", incarnation: 1, stream: i % 9 ? "stdout" : "stderr", text: "line " + i + " of a flood"});
		state.lines = state.lines.slice(-10000);
		changed("log-all");
		return true;
	})()`)
	b.until("all of them", `parseInt(document.getElementById("log-count").textContent.replace(",", "")) >= 9000`)
}

// On a phone nothing is cut off, and a job is read on a page of its own.
func TestPageOnAPhone(t *testing.T) {
	t.Parallel()
	p := serveLocally(t, nil)
	b := browse(t, p.api, 360, 740)
	b.until("ready", stands+` === "Ready"`)
	fits := func(where string) {
		t.Helper()
		if over := eval[int](b, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
			t.Errorf("%s: the page is %d pixels too wide", where, over)
		}
	}
	fits("empty")
	b.runJob(painting(2, 4))
	b.until("its end", says+` === "Done"`)
	b.until("the picture", `document.querySelector(".made img").naturalWidth > 0`)
	fits("the job")
	b.shoot("job")
	b.click(".back")
	b.until("the list", `getComputedStyle(document.getElementById("detail")).display === "none"`)
	fits("the list")
	b.shoot("list")
	b.click("#new")
	fits("the editor")
	if over := eval[int](b, `document.getElementById("run").scrollWidth - document.getElementById("run").clientWidth`); over > 0 {
		t.Errorf("the editor is %d pixels too wide", over)
	}
	b.shoot("editor")
}

// empty removes what the key that led to a field has typed there: a browser leaves
// that out when the page has taken the key, a synthetic event does not.
func (b *browser) empty(id string) {
	b.t.Helper()
	eval[string](b, fmt.Sprintf(`document.getElementById(%q).value = ""`, id))
}

// All of it can be done with the keyboard.
func TestPageByKeyboard(t *testing.T) {
	t.Parallel()
	p := serveLocally(t, nil)
	b := browse(t, p.api, 1280, 860)
	b.until("ready", stands+` === "Ready"`)
	b.keys("?")
	b.until("the list of keys", `document.getElementById("ask").open`)
	b.shoot("keys")
	b.keys(kb.Escape)
	b.until("no dialog", `!document.querySelector("dialog[open]")`)
	b.keys("r")
	b.until("the editor, with the focus in it", `document.activeElement.id === "run-text"`)
	b.empty("run-text")
	b.enter("#run-text", `{"1":{"class_type":"SimText","inputs":{"text":"typed"}}}`)
	b.keys(kb.Enter, chromedp.KeyModifiers(chromedp.ModifierCtrl))
	b.until("the job", says+` === "Done"`)
	b.keys(kb.Escape)
	b.until("no job", `!document.querySelector("#detail .title")`)
	b.keys("j")
	b.until("the job again", says+` === "Done"`)
	b.keys("/")
	b.until("the search", `document.activeElement.id === "jobs-search"`)
	b.empty("jobs-search")
	b.enter("#jobs-search", "no such job")
	b.until("no job", `!document.getElementById("jobs-empty").hidden`)
	b.keys(kb.Escape)
	b.until("all jobs", `document.getElementById("jobs-empty").hidden`)
	b.do("go to the first link", chromedp.Focus(chromedp.CSS(".skip")))
	var walked []string
	for range 40 {
		b.keys(kb.Tab)
		walked = append(walked, eval[string](b, `document.activeElement.id || document.activeElement.className`))
	}
	for _, want := range []string{"restart", "theme", "new", "jobs-search", "jobs-list", "log-text", "log-lines"} {
		if !strings.Contains(" "+strings.Join(walked, " ")+" ", " "+want+" ") {
			t.Errorf("Tab never comes to %s: %v", want, walked)
		}
	}
}

// With a token the page asks for it once, and shows nothing before.
func TestPageAsksForTheToken(t *testing.T) {
	t.Parallel()
	const token = "a-token-of-the-test"
	p := serveLocally(t, map[string]string{"API_TOKEN": token})
	b := browse(t, p.api, 1280, 860)
	b.until("the question", `document.getElementById("ask").open && document.getElementById("token")`)
	b.enter("#token", "wrong")
	b.click("#token-go")
	b.until("that it is wrong", `document.querySelector("#ask .note").textContent.includes("not the token")`)
	b.shoot("token")
	if got := b.text("#instances"); !strings.Contains(got, "Not started") && got != "" {
		t.Errorf("without a token it shows %q", got)
	}
	b.do("the right one", chromedp.SetValue(chromedp.CSS("#token"), token))
	b.click("#token-go")
	b.until("ready", stands+` === "Ready"`)
	b.runJob(`{"1":{"class_type":"EmptyImage","inputs":{"width":8,"height":8,"batch_size":1,"color":1}},"2":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":"x"}}}`)
	b.until("the picture, which the cookie lets through", `document.querySelector(".made img").naturalWidth > 0`)
	b.do("open it again", chromedp.Reload())
	b.until("ready without a question", stands+` === "Ready" && !document.getElementById("ask").open`)
}

// When comfyvisor is stopped the page says so.
func TestPageTellsThatItLostThePod(t *testing.T) {
	t.Parallel()
	p := serveLocally(t, nil)
	b := browse(t, p.api, 1280, 860)
	b.until("ready", stands+` === "Ready"`)
	p.signal(syscall.SIGTERM)
	b.until("that it was stopped", `document.getElementById("banner").innerText.includes("was stopped")`)
	b.until("that nobody can tell how ComfyUI is", stands+` === "No connection"`)
	b.shoot("stopped")
}

// chosen chooses a file for the editor. The field itself is hidden.
func (b *browser) chosen(path string) step {
	return chromedp.SetUploadFiles(chromedp.CSS("#run-files"), []string{path}, chromedp.NodeReady)
}

// Files are dropped, or chosen: a workflow, and a picture that it loads.
func TestPageTakesFiles(t *testing.T) {
	t.Parallel()
	p := serveLocally(t, nil)
	b := browse(t, p.api, 1280, 860)
	b.until("ready", stands+` === "Ready"`)
	b.click("#new")
	b.do("choose a workflow", b.chosen(p.file("flow.json",
		`{"1":{"class_type":"LoadImage","inputs":{"image":"mine.png"}},"2":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":"copy"}}}`)))
	b.until("what is missing", `document.getElementById("run-note").textContent.includes("loads mine.png")`)
	b.do("choose the picture", b.chosen(p.file("mine.png", tinyPNG)))
	b.until("nothing missing", `document.querySelector(".inputs input").value === "mine.png" && !document.getElementById("run-note").textContent.includes("loads")`)
	b.shoot("files")
	b.click("#run-send")
	b.until("the copy", `document.querySelector(".made img").naturalWidth === 1`)
}
