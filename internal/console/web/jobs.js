// The list of jobs.

import { $, button, fill, glyph, h, say } from "./dom.js";
import { shows } from "./made.js";
import { changed, now, on, select, state, statusOf } from "./state.js";
import { windowed } from "./window.js";
import { count, phases, span, statuses, when } from "./words.js";

const rowHeight = 64;
const filters = [
  ["All", () => true], ["Running", s => s === "IN_PROGRESS"], ["Waiting", s => s === "IN_QUEUE"],
  ["Done", s => s === "COMPLETED"], ["Failed", s => s === "FAILED" || s === "TIMED_OUT" || s === "CANCELLED"],
];
let filter = filters[0], shown = [], rows, scrolled = 0;

export function startJobs(openRun) {
  const list = $("jobs-list");
  rows = windowed(list, rowHeight, make, refresh);
  $("jobs-search").addEventListener("input", () => changed("jobs"));
  fill($("jobs-filter"), filters.map(f => button(f[0], () => { filter = f; changed("jobs"); })));
  list.addEventListener("click", e => {
    const row = e.target.closest(".job");
    if (row) open(row.dataset.id);
  });
  list.addEventListener("keydown", keys);
  list.addEventListener("scroll", () => { scrolled = performance.now(); setTimeout(rows.draw, 160); }, { passive: true });
  on("jobs", () => update(openRun));
  on("progress selected clock", () => { rows.draw(); mark(); });
}

// open shows a job, on a phone instead of the list.
export function open(id) {
  select(id);
  document.body.classList.add("reading");
}

// step selects the next job, or the one before.
export function step(by) {
  const at = shown.indexOf(state.selected);
  const to = Math.min(shown.length - 1, Math.max(0, at < 0 ? 0 : at + by));
  if (shown.length === 0) return;
  select(shown[to]);
  rows.reveal(to);
}

function keys(e) {
  const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8, Home: -1e9, End: 1e9 }[e.key];
  if (by) {
    e.preventDefault();
    step(by);
  } else if (e.key === "Enter" && state.selected) {
    open(state.selected);
    $("detail").focus();
  }
}

function update(openRun) {
  const wanted = $("jobs-search").value.trim().toLowerCase();
  const tally = filters.map(() => 0);
  shown = [];
  for (const id of state.order) {
    const item = state.items.get(id), status = statusOf(item);
    filters.forEach((f, i) => { if (f[1](status)) tally[i]++; });
    if (filter[1](status) && (!wanted || text(item).includes(wanted))) shown.push(id);
  }
  [...$("jobs-filter").children].forEach((b, i) => {
    say(b, filters[i][0] + (tally[i] ? " " + tally[i].toLocaleString() : ""));
    b.setAttribute("aria-pressed", filters[i] === filter);
  });
  say($("jobs-count"), shown.length === state.order.length ? "" : count(shown.length, "match", "matches"));
  $("jobs-list").hidden = shown.length === 0;
  empty(openRun, wanted);
  rows.length = shown.length;
  mark();
}

function text(item) {
  return [item.id, item.cause, item.error, ...(item.files ?? []).map(f => f.filename)].join(" ").toLowerCase();
}

function empty(openRun, wanted) {
  const el = $("jobs-empty");
  el.hidden = shown.length > 0;
  if (!el.hidden) {
    fill(el, !state.loaded ? h("p", {}, "Looking for jobs…")
      : state.order.length > 0 ? [h("p", {}, wanted ? `No job here has “${wanted}” in its id, cause or files.` : `No job is ${filter[0].toLowerCase()}.`),
        button("Show all", () => { filter = filters[0]; $("jobs-search").value = ""; changed("jobs"); })]
        : [h("p", {}, "No jobs yet."), h("p", {}, "Drop a workflow file anywhere on this page, or send one to POST /run."), button("Run a workflow", openRun)]);
  }
}

function make() {
  const parts = { glyph: glyph("wait"), name: h("span.name"), when: h("span.when"), say: h("span.say"), thumb: h("img.thumb", { alt: "", decoding: "async", hidden: true }), bar: h("div.progress", { hidden: true }, h("i")) };
  const el = h("div.job", { role: "option" }, Object.values(parts));
  parts.thumb.addEventListener("error", () => { parts.thumb.hidden = true; });
  return Object.assign(el, { parts });
}

function refresh(el, i) {
  const id = shown[i], item = state.items.get(id), p = el.parts;
  if (!item) return;
  const status = statusOf(item), work = state.working.get(id), [word, kind] = statuses[status] ?? [status, "off"];
  if (el.dataset.id !== id) {
    el.dataset.id = id;
    el.id = "job-" + id;
    p.thumb.hidden = true;
    p.thumb.dataset.url = "";
  }
  el.setAttribute("aria-selected", id === state.selected);
  el.setAttribute("aria-setsize", shown.length);
  el.setAttribute("aria-posinset", i + 1);
  if (p.glyph.dataset.kind !== kind) {
    const g = glyph(kind);
    g.dataset.kind = kind;
    p.glyph.replaceWith(g);
    p.glyph = g;
  }
  say(p.name, id.slice(0, 13));
  say(p.when, when(item.createdAt));
  say(p.say, word + tell(item, status, work));
  p.bar.hidden = !work;
  if (work) p.bar.firstChild.style.transform = `scaleX(${work.percent / 100})`;
  picture(el, item);
}

function tell(item, status, work) {
  if (work) {
    const node = work.title || work.class;
    return work.phase === "execute" && node ? ` · ${Math.round(work.percent)} % · ${node}` + (work.left ? ` · ${span(work.left)} left` : "") : " · " + (phases[work.phase] ?? work.phase);
  }
  switch (status) {
    case "IN_QUEUE": return " for " + span(now() - item.createdAt);
    case "COMPLETED": return ` in ${span(item.executionTime)} · ${item.files?.length ? count(item.files.length, "file") : "no files"}`;
    case "FAILED": case "TIMED_OUT": return " · " + (item.cause ?? item.error ?? "");
  }
  return "";
}

// picture shows the first picture of a job, once nobody scrolls.
function picture(el, item) {
  const img = el.parts.thumb, file = item.files?.find(f => f.mime_type?.startsWith("image/") && shows(f.url));
  el.classList.toggle("has-thumb", !!file);
  if (!file) {
    img.hidden = true;
  } else if (img.dataset.url !== file.url && performance.now() - scrolled > 150) {
    img.dataset.url = img.src = file.url;
    img.hidden = false;
  }
}

function mark() {
  const at = shown.indexOf(state.selected);
  const list = $("jobs-list");
  if (at >= 0 && rows.row(at)) list.setAttribute("aria-activedescendant", "job-" + state.selected);
  else list.removeAttribute("aria-activedescendant");
}
