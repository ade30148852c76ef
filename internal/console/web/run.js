// The dialog in which a workflow is looked at, changed and sent.

import { api } from "./api.js";
import { $, button, fill, h, say } from "./dom.js";
import { open } from "./jobs.js";
import { refreshJob } from "./list.js";
import { toast } from "./shell.js";
import { count, size } from "./words.js";
import { example, read, wants } from "./workflow.js";

let text, note, list, send, pick;
let files = []; // {name, size, data: a data: URL}

export function startRun() {
  text = h("textarea", { id: "run-text", rows: 14, spellcheck: "false", "aria-label": "Workflow in API format", "aria-describedby": "run-note", placeholder: "{\"1\": {\"class_type\": …}}", on: { input: check } });
  note = h("p.note", { id: "run-note", role: "status" });
  list = h("ul.inputs");
  send = button("Run", submit, { class: "primary", id: "run-send", title: "Ctrl+Enter" });
  pick = h("input", { type: "file", multiple: true, hidden: true, id: "run-files", "aria-label": "Choose files", on: { change: () => { take([...pick.files]); pick.value = ""; } } });
  fill($("run"), h("h2", { id: "run-title" }, "Run a workflow"),
    h("div.zone", { id: "run-zone" }, h("p", {}, "Drop a workflow file here, and the pictures that it loads, or ", button("choose files", () => pick.click(), { class: "link" }), "."),
      h("p.count", {}, "In ComfyUI: Workflow → Export (API). No file at hand? ", button("Take a test picture", tryExample, { class: "link", id: "run-example" }), ".")),
    pick, note, text, list,
    h("div.row.end", {}, button("Close", () => $("run").close()), send));
  $("run").addEventListener("keydown", e => { if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) submit(); });
  drops();
  check();
}

export function openRun() {
  if (!$("run").open) $("run").showModal();
  text.focus();
}

// tryExample opens the dialog with a workflow that runs everywhere.
export function tryExample() { edit({ workflow: example }); }

// edit opens the dialog with the input of a job.
export function edit(input) {
  fillIn(input);
  openRun();
}

function fillIn({ workflow }) {
  text.value = JSON.stringify(workflow, null, 2);
  text.scrollTop = 0;
  check();
}

// drops takes files that are dropped anywhere on the page.
function drops() {
  const carries = e => e.dataTransfer?.types.includes("Files");
  addEventListener("dragover", e => {
    if (!carries(e)) return;
    e.preventDefault();
    document.body.classList.add("over");
  });
  addEventListener("dragleave", e => { if (!e.relatedTarget) document.body.classList.remove("over"); });
  addEventListener("drop", e => {
    if (!carries(e)) return;
    e.preventDefault();
    document.body.classList.remove("over");
    openRun();
    take([...e.dataTransfer.files]);
  });
}

async function take(all) {
  for (const f of all) {
    if (/\.json$/i.test(f.name) || f.type === "application/json") {
      text.value = await f.text();
      text.scrollTop = 0;
    } else {
      files = files.filter(x => x.name !== f.name);
      files.push({ name: f.name, size: f.size, data: await dataURL(f) });
    }
  }
  check();
}

function dataURL(file) {
  return new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => fail(reader.error);
    reader.readAsDataURL(file);
  });
}

// check says what the text is, and returns it, null if it cannot be run.
function check() {
  let found = null, said = "", kind = "";
  try {
    found = read(text.value);
    const missing = wants(found.workflow).filter(w => ![...files, ...found.images].some(f => f.name === w[2]));
    said = count(Object.keys(found.workflow).length, "node");
    if (missing.length) {
      kind = "is-warn";
      said += ". " + missing.map(([id, title, name]) => `${title} (node ${id}) loads ${name}`).join("; ") + ": add the file, unless ComfyUI has it.";
    }
  } catch (e) {
    said = e.message;
    kind = "is-bad";
  }
  say(note, said);
  note.className = "note " + kind;
  send.disabled = !found;
  fill(list, files.map(f => h("li", {},
    f.data.startsWith("data:image/") && h("img", { src: f.data, alt: "" }),
    h("input", { type: "text", value: f.name, "aria-label": "Name under which nodes load it", on: { input: e => { f.name = e.target.value; }, change: check } }),
    h("span.count", {}, size(f.size)), button("Remove", () => { files = files.filter(x => x !== f); check(); }, { class: "quiet" }))));
  return found;
}

async function submit() {
  const found = check();
  if (!found || send.disabled) return;
  send.disabled = true;
  try {
    const input = { workflow: found.workflow };
    const images = [...found.images, ...files.map(f => ({ name: f.name, image: f.data }))];
    if (images.length) input.images = images;
    const { id } = await api.run(input);
    $("run").close();
    await refreshJob(id);
    open(id);
    toast("Sent.");
  } catch (e) {
    say(note, e.message);
    note.className = "note is-bad";
  } finally {
    send.disabled = false;
  }
}
