package main

import (
	"encoding/json"
	"fmt"
	"syscall"
	"testing"
)

// serveLocally starts a program with the page, and waits until it is ready.
func serveLocally(t *testing.T, env map[string]string) *program {
	t.Helper()
	o := options{env: map[string]string{"SERVE_API_LOCALLY": "true"}}
	for name, value := range env {
		o.env[name] = value
	}
	p := start(t, o)
	p.waitReady()
	return p
}

// write puts a workflow into the editor, as a paste does.
func (b *browser) write(workflow string) {
	b.t.Helper()
	quoted, _ := json.Marshal(workflow)
	eval[bool](b, fmt.Sprintf(`(() => { const t = document.getElementById("run-text"); t.value = %s; return t.dispatchEvent(new Event("input", {bubbles: true})) })()`, quoted))
}

// runJob runs a workflow from the page.
func (b *browser) runJob(workflow string) {
	b.t.Helper()
	b.click("#new")
	b.write(workflow)
	b.until("a workflow that can be sent", `!document.getElementById("run-send").disabled`)
	b.click("#run-send")
	b.until("the job", `!document.getElementById("run").open && document.querySelector("#detail .title")`)
}

const (
	says   = `document.querySelector("#detail .title h2")?.textContent`
	stands = `document.querySelector("#stand b")?.textContent`
)

// A job that somebody runs from the page: its progress rises, previews show what
// it is to become, and the picture is there.
func TestPageRunsAJob(t *testing.T) {
	t.Parallel()
	p := serveLocally(t, map[string]string{"SIMCOMFY_STEP": "60ms"})
	b := browse(t, p.api, 1440, 900)
	b.until("ready", stands+` === "Ready"`)
	b.shoot("empty")
	b.click("#new")
	b.write(painting(1, 40))
	b.until("what it loads", `document.getElementById("run-note").textContent.startsWith("7 nodes")`)
	b.shoot("editor")
	b.click("#run-send")

	b.until("some progress", `parseInt(document.querySelector(".now b")?.textContent) >= 10`)
	first := eval[int](b, `parseInt(document.querySelector(".now b").textContent)`)
	b.until("a preview", `document.querySelector(".now img").naturalWidth > 0`)
	b.until("more progress", fmt.Sprintf(`parseInt(document.querySelector(".now b").textContent) > %d`, first))
	b.until("the node", `/Paint it \(KSampler\) · node 5 · step \d+ of 40/.test(document.querySelector(".now").innerText)`)
	b.shoot("running")
	b.until("its end", says+` === "Done"`)
	b.until("the picture", `document.querySelector(".made img").naturalWidth > 0`)
	b.until("its thumbnail", `document.querySelector(".job .thumb").naturalWidth > 0`)
	b.until("where the time went", `document.querySelector(".legend").innerText.includes("Ran")`)
	b.shoot("done")
	b.scheme("dark")
	b.shoot("dark")
	wantColours(b)
}

// wantColours checks that the system's dark and light differ, and that the switch
// stands over both.
func wantColours(b *browser) {
	b.t.Helper()
	const background = `getComputedStyle(document.body.parentElement).backgroundColor`
	night := eval[string](b, background)
	b.scheme("light")
	day := eval[string](b, background)
	if night == day {
		b.t.Errorf("dark and light both have %s", day)
	}
	b.click("#theme") // light
	b.click("#theme") // dark
	if got := eval[string](b, background); got != night {
		b.t.Errorf("the switch to dark gives %s, want %s", got, night)
	}
	b.click("#theme")
	if got := eval[string](b, background); got != day {
		b.t.Errorf("back to the system's: %s, want %s", got, day)
	}
}

// Every kind of output is shown as what it is.
func TestPageShowsEveryKindOfOutput(t *testing.T) {
	t.Parallel()
	p := serveLocally(t, nil)
	b := browse(t, p.api, 1440, 1000)
	b.runJob(`{
		"1":{"class_type":"EmptyImage","inputs":{"width":64,"height":64,"batch_size":4,"color":255}},
		"2":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":"still"}},
		"3":{"class_type":"SaveWEBM","inputs":{"images":["1",0],"filename_prefix":"film","codec":"vp9","fps":12,"crf":32}},
		"4":{"class_type":"SimTone","inputs":{"seconds":1,"seed":1}},
		"5":{"class_type":"SaveAudio","inputs":{"audio":["4",0],"filename_prefix":"sound"}},
		"6":{"class_type":"SimMesh","inputs":{"seed":1}},
		"7":{"class_type":"SaveGLB","inputs":{"mesh":["6",0],"filename_prefix":"mesh"}},
		"8":{"class_type":"SimText","inputs":{"text":"<b>as it is</b>"}}}`)
	b.until("its end", says+` === "Done"`)
	b.until("pictures", `document.querySelectorAll(".made img").length === 4 && [...document.querySelectorAll(".made img")].every(i => i.naturalWidth > 0)`)
	b.until("a video", `document.querySelector(".made video")`)
	b.until("sound", `document.querySelector(".made audio")`)
	b.until("a mesh to be saved", `[...document.querySelectorAll(".made a[download]")].some(a => a.textContent.endsWith(".glb") && a.href.includes("/files/"))`)
	b.until("the text as it is", `document.querySelector("#detail").innerText.includes("<b>as it is</b>")`)
	b.shoot("outputs")
}

// What failed is told with what to do about it, and can be tried again.
func TestPageTellsWhyAJobFailed(t *testing.T) {
	t.Parallel()
	p := serveLocally(t, nil)
	b := browse(t, p.api, 1280, 860)
	b.runJob(`{"1":{"class_type":"SimRaise","inputs":{"exception_type":"ValueError","message":"the <i>prompt</i> is too long"}}}`)
	b.until("its end", says+` === "Failed"`)
	b.until("the reason", `document.querySelector(".fault").innerText.includes("the <i>prompt</i> is too long")`)
	b.until("what to do", `document.querySelector(".fault .do").innerText.includes("Look at the node")`)
	b.shoot("failed")
	b.click("#job-retry")
	b.until("that it ran again", `document.querySelector("#toasts").innerText.includes("again") || document.querySelector(".job .say").textContent.startsWith("Waiting")`)
	b.until("its second end", says+` === "Failed"`)
	b.click("#new")
	b.write(`{"nodes":[],"links":[]}`)
	b.until("which export to choose", `document.getElementById("run-note").textContent.includes("Export (API)")`)
	b.write(`{"1":`)
	b.until("that it is no JSON", `document.getElementById("run-note").textContent.includes("not JSON") && document.getElementById("run-send").disabled`)
}

// ComfyUI dies while somebody watches: the page tells it, and how it ended.
func TestPageTellsThatComfyUIDied(t *testing.T) {
	t.Parallel()
	p := serveLocally(t, map[string]string{"SIMCOMFY_BOOT": "700ms"})
	b := browse(t, p.api, 1440, 900)
	b.until("ready", stands+` === "Ready"`)
	b.runJob(`{"1":{"class_type":"SimSleep","inputs":{"seconds":2,"mode":"poll","steps":20}}}`)
	b.until("some progress", `parseInt(document.querySelector(".now b")?.textContent) >= 10`)
	if err := syscall.Kill(p.comfyPID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.until("that it is not ready", stands+` !== "Ready" && document.querySelector(".now").innerText.includes("runs once more")`)
	b.shoot("down")
	b.until("how it ended", `[...document.querySelectorAll(".lives li")].some(l => l.innerText.includes("#1 Killed") && l.innerText.includes("SIGKILL"))`)
	b.until("that it is ready again", stands+` === "Ready"`)
	b.until("the second run of the job", says+` === "Done"`)
	b.until("its attempts", `document.querySelector(".detail .sub").innerText.includes("2 attempts")`)
	b.shoot("again")
}

// A restart is asked for from the page, after a question.
func TestPageRestartsComfyUI(t *testing.T) {
	t.Parallel()
	p := serveLocally(t, nil)
	b := browse(t, p.api, 1280, 860)
	b.until("ready", stands+` === "Ready"`)
	before := p.comfyPID()
	b.click("#restart")
	b.shoot("question")
	b.click("#restart-go")
	b.until("another incarnation", `[...document.querySelectorAll(".lives li")].some(l => l.innerText.includes("#2 Alive"))`)
	b.until("that the first was replaced", `[...document.querySelectorAll(".lives li")].some(l => l.innerText.includes("#1 Replaced on purpose"))`)
	if p.comfyPID() == before {
		t.Error("the process is the same")
	}
}

// A job is cancelled from the page, one that waits and one that runs.
func TestPageCancelsJobs(t *testing.T) {
	t.Parallel()
	p := serveLocally(t, nil)
	b := browse(t, p.api, 1280, 860)
	const long = `{"1":{"class_type":"SimSleep","inputs":{"seconds":120,"mode":"poll","steps":1000}}}`
	b.runJob(long)
	b.until("that it runs", says+` === "Running"`)
	b.runJob(long)
	b.until("that it waits", says+` === "Waiting"`)
	b.shoot("waiting")
	b.click("#job-cancel")
	b.until("that it is cancelled", says+` === "Cancelled"`)
	b.keys("j")
	b.until("the other", says+` === "Running"`)
	b.click("#job-cancel")
	b.until("that it is cancelled, too", says+` === "Cancelled"`)
}
