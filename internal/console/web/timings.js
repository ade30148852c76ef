// Where a job's time went.

import { h } from "./dom.js";
import { span } from "./words.js";

const kinds = [["wait", "Waited for its turn"], ["prepare", "Prepared"], ["queue", "Waited in ComfyUI"], ["execute", "Ran"], ["deliver", "Delivered"]];

export function timings(job) {
  const t = job.timings;
  if (!t) return null;
  const all = kinds.map(([key, word]) => [key, word, key === "wait" ? job.delayTime ?? 0 : t[key] ?? 0]).filter(p => p[2] > 0);
  if (all.length === 0) return null;
  return h("section.block", { "aria-label": "Where the time went" }, h("h3", {}, "Where the time went"),
    h("div.phases", { "aria-hidden": "true" }, all.map(([key, , ms]) => part(key, ms))),
    h("div.legend", {}, all.map(([key, word, ms]) => [h("i", { class: "p-" + key }), h("span", {}, word), h("span.num", {}, span(ms))])),
    nodes(t.nodes, job.input?.workflow));
}

function part(key, ms) {
  const el = h("i", { class: "p-" + key });
  el.style.flexGrow = ms;
  return el;
}

// nodes lists those that took the most time.
function nodes(times, workflow) {
  const slow = Object.entries(times ?? {}).sort((a, b) => b[1] - a[1]).slice(0, 6);
  if (slow.length === 0) return null;
  return h("div.legend", {}, slow.map(([id, ms]) => {
    const n = workflow?.[id];
    return [h("span"), h("span", {}, (n?._meta?.title || n?.class_type || "node") + " · " + id), h("span.num", {}, span(ms))];
  }));
}
