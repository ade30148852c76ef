// What ComfyUI writes.

import { $, button, fill, h, say } from "./dom.js";
import { on, state } from "./state.js";
import { windowed } from "./window.js";
import { clock, count } from "./words.js";

const rowHeight = 20;
const escapes = /\u001b\[[0-9;?]*[A-Za-z]/g;
let shown = [], seen = 0, paused = false, rows;

export function startLog() {
  rows = windowed($("log-lines"), rowHeight, () => {
    const el = h("div.line", {}, h("time"), h("span"));
    return el;
  }, refresh);
  on("log-all", all);
  on("log", more);
  on("selected", () => { if ($("log-job").checked) all(); });
  for (const id of ["log-text", "log-stream", "log-job"]) $(id).addEventListener("input", () => all());
  $("log-pause").addEventListener("click", pause);
}

export function pause() {
  paused = !paused;
  $("log-pause").setAttribute("aria-pressed", paused);
  say($("log-pause"), paused ? "Go on" : "Pause");
  if (paused) tally();
  else all();
}

// wanted returns what tells whether a line is shown.
function wanted() {
  const text = $("log-text").value.trim().toLowerCase(), stream = $("log-stream").value, job = $("log-job").checked && state.selected;
  return l => (!stream || l.stream === stream) && (!job || l.job === job) && (!text || l.text.toLowerCase().includes(text));
}

// all goes through every line anew; a new filter does so while paused, too.
function all(topics) {
  if (paused && topics) return;
  shown = state.lines.filter(wanted());
  seen = state.lines.length;
  draw(true);
}

// more adds the lines that have come since.
function more(topics) {
  if (topics.has("log-all")) return;
  if (!paused) {
    const follow = rows.atEnd;
    shown.push(...state.lines.slice(seen).filter(wanted()));
    seen = state.lines.length;
    draw(follow);
  }
  tally();
}

function draw(follow) {
  const none = shown.length === 0, el = $("log-empty");
  $("log-lines").hidden = none;
  el.hidden = !none;
  if (none) {
    fill(el, state.lines.length === 0 ? h("p", {}, "ComfyUI has written nothing yet.") : [h("p", {}, "No line passes the filter."), button("Show all", () => {
      $("log-text").value = $("log-stream").value = "";
      $("log-job").checked = false;
      all();
    })]);
  }
  rows.length = shown.length;
  if (follow) rows.toEnd();
  tally();
}

function tally() {
  const parts = [count(shown.length, "line")];
  if (paused) parts.push(count(Math.max(0, state.lines.length - seen), "new one"));
  if (state.dropped) parts.push(state.dropped.toLocaleString() + " left out");
  say($("log-count"), parts.join(", "));
}

function refresh(el, i) {
  const l = shown[i];
  if (!l || el.line === l) return;
  el.line = l;
  const text = l.text.replace(escapes, "");
  say(el.firstChild, clock(l.at));
  say(el.lastChild, text || " ");
  el.className = "line is-" + l.stream + (/error|exception|traceback|fatal/i.test(text) ? " bad" : /warn/i.test(text) ? " warn" : "");
  el.title = [l.stream, "incarnation " + l.incarnation, l.job && "job " + l.job].filter(Boolean).join(" · ");
}
