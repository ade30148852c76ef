// ComfyUI itself: how it stands, what it uses, how its last lives ended.

import { chart } from "./chart.js";
import { $, fill, glyph, h, say } from "./dom.js";
import { now, on, state } from "./state.js";
import { clock, count, device, endOf, span, stand, when } from "./words.js";

export function startSide() {
  on("comfy progress clock", instances);
  on("gauges lives", charts);
  on("lives clock", lives);
}

function instances() {
  const all = [...state.instances.values()];
  fill($("instances"), all.length === 0 ? h("p.inst.count", {}, "Not started yet.") : all.map(one));
}

function one(in_) {
  const [word, kind, why] = stand(in_);
  const usage = state.samples.at(-1)?.instances?.find(u => u.name === in_.name);
  const fact = (name, value) => value && [h("dt", {}, name), h("dd", {}, value)];
  return h("div.inst", {},
    h("p.state", {}, glyph(kind), state.instances.size > 1 ? in_.name + ": " + word : word),
    why && h("p.why", {}, why),
    h("dl.facts", {},
      fact("since", in_.since && span(now() - (in_.open ? in_.ready : in_.since))),
      fact("incarnation", in_.incarnation && String(in_.incarnation)), fact("process", in_.pid && String(in_.pid)),
      fact("device", usage && device(usage.device))));
}

function charts() {
  const s = state.samples, latest = s.at(-1), drawn = [];
  const ends = state.lives.filter(l => l.end && l.how !== "planned").map(l => l.end);
  say($("use-span"), s.length > 1 ? "last " + span(latest.at - s[0].at) : "");
  if (!latest) {
    fill($("charts"), h("p.chart.count", {}, "The first sample comes in a moment."));
    return;
  }
  drawn.push(chart({ label: "Memory of the pod", points: s.map(x => [x.at, x.memory]), limit: latest.limit, ends }));
  for (const u of latest.instances) {
    const of = state.instances.size > 1 ? " of " + u.name : "";
    const seen = f => s.map(x => [x.at, f(x.instances.find(i => i.name === u.name))]);
    drawn.push(chart({ label: "ComfyUI" + of, points: seen(i => i?.resident || null), limit: latest.limit, ends }));
    const total = Math.max(u.vramTotal, ...s.map(x => x.instances.find(i => i.name === u.name)?.vramTotal ?? 0));
    if (total) drawn.push(chart({ label: "GPU memory" + of, points: seen(i => i?.vramTotal ? i.vramUsed : null), limit: total, ends }));
  }
  fill($("charts"), drawn);
}

function lives() {
  const all = [...state.lives].reverse();
  say($("lives-count"), all.length ? count(all.length, "life", "lives") : "");
  fill($("lives"), all.length === 0 ? h("li.count", {}, "How ComfyUI's runs began and ended.") : all.map(l => {
    const [word, kind] = endOf(l);
    return h("li", {}, glyph(kind), h("span.how", {}, `#${l.incarnation} ${word}`), h("span.num", {}, span((l.end || now()) - l.start)),
      h("span.why", {}, [when(l.start) + (l.end ? " to " + clock(l.end) : ""), l.ready ? "ready after " + span(l.ready - l.start) : l.end ? "never ready" : "", l.end ? l.reason : ""].filter(Boolean).join(" · ")));
  }));
}

// verdict is how all of them stand, for the head of the page.
export function verdict() {
  const all = [...state.instances.values()];
  if (all.length === 0) return ["Starting", "busy", ""];
  const open = all.filter(i => i.open).length;
  if (open > 0) return ["Ready", "ok", open < all.length ? `${open} of ${all.length} take jobs` : "jobs are run as they come"];
  return stand(all[0]);
}

