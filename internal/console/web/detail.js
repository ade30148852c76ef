// One job: how far it is, what it made, why it failed and what to do about it.

import { api, previewURL } from "./api.js";
import { causes } from "./causes.js";
import { $, button, fill, glyph, h, say } from "./dom.js";
import { refreshJob } from "./list.js";
import { gallery, values } from "./made.js";
import { on, now, select, state, statusOf } from "./state.js";
import { toast } from "./shell.js";
import { timings } from "./timings.js";
import { count, phases, span, statuses, when } from "./words.js";

let job = null;   // all of the selected job
let parts = null; // what changes while it runs
let teach;        // shows what to do while none is selected
let edit;         // opens the editor with an input

export function startDetail(o) {
  ({ teach, edit } = o);
  on("selected", load);
  on("fetched jobs", reload);
  on("progress comfy clock", move);
  show();
}

async function load() {
  const id = state.selected;
  job = null;
  show();
  if (!id) return;
  const got = await refreshJob(id);
  if (state.selected === id) {
    job = got;
    show();
  }
}

// reload reads the job again when the list knows another status of it.
async function reload() {
  const item = state.items.get(state.selected);
  if (!job || !item || item.status === job.status && item.attempts === job.attempts) {
    if (job && parts && parts.status !== statusOf(job)) show();
    return;
  }
  const got = await api.job(job.id).catch(() => null);
  if (got && got.id === state.selected) {
    job = got;
    show();
  }
}

export function close() {
  select(null);
  document.body.classList.remove("reading");
  $("jobs-list").focus({ preventScroll: true });
}

function show() {
  const pane = $("detail");
  parts = null;
  if (!job) {
    fill(pane, h("div.empty", {}, state.selected ? h("p", {}, "Reading the job…") : teach()));
    return;
  }
  const status = statusOf(job), [word, kind] = statuses[status] ?? [status, "off"];
  parts = { status, now: h("div.now") };
  const scroller = h("div.scroller", { tabindex: "-1" },
    h("div.title", {}, button("‹ Jobs", close, { class: "back" }), glyph(kind), h("h2", {}, word), h("div.row", {}, actions(status))),
    h("p.sub", {}, h("code", {}, job.id), h("span", {}, "sent " + when(job.createdAt)), job.attempts > 1 && h("span", {}, count(job.attempts, "attempt")),
      job.executionTime != null && h("span", {}, "took " + span(job.executionTime))),
    status === "IN_PROGRESS" || status === "IN_QUEUE" ? parts.now : null,
    job.error || job.cause ? fault() : null,
    gallery(job.files ?? []), values(job.values), timings(job), input());
  fill(pane, scroller);
  move();
}

function actions(status) {
  const act = (f, said) => async () => {
    try {
      await f(job.id);
      toast(said);
      await refreshJob(job.id);
      await reload();
    } catch (e) {
      toast(e.message, "bad");
    }
  };
  const live = status === "IN_QUEUE" || status === "IN_PROGRESS";
  return [
    live && button("Cancel", act(api.cancel, "Cancelled."), { class: "danger", id: "job-cancel" }),
    (status === "FAILED" || status === "TIMED_OUT") && button("Retry", act(api.retry, "It waits for its turn again."), { id: "job-retry" }),
    job.input?.workflow && button("Edit and run…", () => edit(job.input)),
  ];
}

// move shows how far the job is, without making anything anew but a picture.
function move() {
  if (!parts || !parts.now.isConnected) return;
  const w = state.working.get(job.id), el = parts.now;
  if (!w) {
    const before = state.order.filter(id => statusOf(state.items.get(id)) === "IN_QUEUE" && state.items.get(id).createdAt < job.createdAt).length;
    fill(el, h("p.at", {}, before ? count(before, "job") + " before it. " : "It is the next. ", "Waiting for " + span(now() - job.createdAt) + "."));
    parts.bar = null;
    return;
  }
  if (!parts.bar) {
    Object.assign(parts, { percent: h("b"), left: h("span.at"), bar: h("i"), at: h("p.at"), img: h("img", { alt: "How the picture looks so far", hidden: true }) });
    parts.track = h("div.progress", { role: "progressbar", "aria-label": "Progress of the job", "aria-valuemin": 0, "aria-valuemax": 100 }, parts.bar);
    fill(el, h("div.big", {}, parts.percent, parts.left), parts.track, parts.at, parts.img);
  }
  say(parts.percent, Math.round(w.percent) + " %");
  say(parts.left, w.left ? span(w.left) + " left" : "");
  parts.bar.style.transform = `scaleX(${w.percent / 100})`;
  parts.track.setAttribute("aria-valuenow", Math.round(w.percent));
  const alone = ![...state.instances.values()].some(i => i.open);
  if (alone) say(parts.left, "");
  const node = w.phase === "execute" && w.node;
  say(parts.at, alone ? "ComfyUI is down. The job runs once more when it is ready again." : node ? [w.title && w.title !== w.class ? `${w.title} (${w.class})` : w.class || "a node", `node ${w.node}`, w.steps ? `step ${w.step} of ${w.steps}` : ""].filter(Boolean).join(" · ")
    : (phases[w.phase] ?? w.phase) + (w.attempt > 1 ? ", for the second time" : ""));
  if (w.preview && parts.shown !== w.preview) {
    parts.shown = w.preview;
    parts.img.src = previewURL(w);
    parts.img.hidden = false;
  }
}

function fault() {
  const [title, todo] = causes[job.cause] ?? ["The job failed", ""];
  const more = job.details;
  return h("section.fault", { "aria-label": "Why it failed" },
    h("b", {}, title), h("p", {}, job.error ?? ""),
    todo && todo !== "–" && h("p.do", {}, h("b", {}, "What to do: "), todo),
    h("p", {}, h("code", {}, job.cause ?? "")),
    more && h("details", {}, h("summary", {}, "Details"), h("pre", {}, typeof more === "string" ? more : JSON.stringify(more, null, 1))));
}

function input() {
  return job.input && h("details.block", {}, h("summary", {}, "What was sent"), h("pre", {}, JSON.stringify(job.input, null, 1)));
}
