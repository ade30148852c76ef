// A small chart of a size over time.

import { h } from "./dom.js";
import { clock, size } from "./words.js";

const width = 300, height = 56, least = 2 * 60_000; // ms across

// chart draws points [time, bytes or null] up to a limit, which may be 0. Ends
// are the times at which ComfyUI died.
export function chart({ label, points, limit, ends }) {
  const known = points.filter(p => p[1] !== null);
  const last = points.at(-1), top = limit || Math.max(1, ...known.map(p => p[1])) * 1.25;
  const to = last[0], from = Math.min(points[0][0], to - least);
  const x = t => (t - from) / (to - from) * width, y = v => height - Math.min(1, v / top) * (height - 2) - 1;
  const value = last[1] === null ? "not known" : size(last[1]) + (limit ? " of " + size(limit) : "");
  const peak = known.length ? size(Math.max(...known.map(p => p[1]))) : "";
  const text = h("span.num", {}, value);
  const svg = h("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": `${label}: ${value}${peak ? ", at most " + peak : ""}` },
    h("path.base", { d: `M0 ${height}H${width}` }),
    runs(points).map(run => {
      const line = run.map(([t, v], i) => (i ? "L" : "M") + x(t).toFixed(1) + " " + y(v).toFixed(1)).join("");
      return [h("path.area", { d: `${line}L${x(run.at(-1)[0]).toFixed(1)} ${height}L${x(run[0][0]).toFixed(1)} ${height}Z` }), h("path.stroke", { d: line })];
    }),
    ends.filter(t => t >= from && t <= to).map(t => h("path.end", { d: `M${x(t).toFixed(1)} 0V${height}` })));
  svg.addEventListener("pointermove", e => {
    const box = svg.getBoundingClientRect(), t = from + (e.clientX - box.left) / box.width * (to - from);
    const near = known.reduce((a, b) => !a || Math.abs(b[0] - t) < Math.abs(a[0] - t) ? b : a, null);
    if (near) text.textContent = `${size(near[1])} at ${clock(near[0])}`;
  });
  svg.addEventListener("pointerleave", () => { text.textContent = value; });
  return h("div.chart", {}, h("div.label", {}, h("span", {}, label), text), svg);
}

// runs are the stretches without a gap.
function runs(points) {
  const all = [];
  let run = [];
  for (const p of points) {
    if (p[1] !== null) run.push(p);
    else if (run.length) {
      all.push(run);
      run = [];
    }
  }
  return run.length ? [...all, run] : all;
}
