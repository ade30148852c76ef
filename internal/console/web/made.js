// What a job made.

import { h } from "./dom.js";
import { count, size } from "./words.js";

// gallery shows files: what a browser can show, and the rest to be saved.
export function gallery(files) {
  if (files.length === 0) return null;
  const bytes = files.reduce((sum, f) => sum + (f.size ?? 0), 0);
  return h("section.block", { "aria-label": "What it made" },
    h("h3", {}, count(files.length, "file") + ", " + size(bytes)), h("div.gallery", {}, files.map(one)));
}

function one(f) {
  const name = f.subfolder ? f.subfolder + "/" + f.filename : f.filename;
  const save = f.url ? h("a", { href: f.url, download: f.filename, target: "_blank", rel: "noopener noreferrer" }, name) : h("span", {}, name);
  return h("figure.made", {}, body(f), h("figcaption", {}, save, h("span", {}, size(f.size ?? 0))));
}

// kindOf is image, video, audio or another first half of a type. Where the
// content has told none, the name may.
function kindOf(f) {
  const type = f.mime_type || "application/octet-stream";
  if (type !== "application/octet-stream") return type.split("/")[0];
  if (f.kind === "audio" || /\.(flac|mp3|opus|ogg|wav|m4a)$/i.test(f.filename)) return "audio";
  return /\.(mp4|webm|mov|mkv)$/i.test(f.filename) ? "video" : "";
}

// shows tells whether the page may show what an address has: its own files, and
// those of a store that is reached by TLS.
export const shows = url => /^(\/[^/]|https:)/.test(url ?? "");

function body(f) {
  const kind = shows(f.url) && kindOf(f);
  if (kind === "image") {
    return h("a", { href: f.url, target: "_blank", rel: "noopener noreferrer" }, h("img", { src: f.url, alt: f.filename, decoding: "async" }));
  }
  if (kind === "video" || kind === "audio") {
    return h(kind, { src: f.url, controls: true, preload: "metadata", "aria-label": f.filename, loop: kind === "video", playsinline: true });
  }
  return h("div.doc", { title: f.mime_type }, h("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, h("use", { href: "#i-file" })));
}

// values shows what nodes reported beside files, by node.
export function values(all) {
  const nodes = Object.entries(all ?? {});
  if (nodes.length === 0) return null;
  return h("section.block", { "aria-label": "Values" }, h("h3", {}, "Values"),
    nodes.map(([node, value]) => h("div", {}, h("p.count", {}, "node " + node), h("pre", {}, plain(value)))));
}

// plain is a value as people read it: texts as they are.
function plain(value) {
  const texts = Object.values(value ?? {}).flat();
  return texts.length > 0 && texts.every(t => typeof t === "string") ? texts.join("\n") : JSON.stringify(value, null, 1);
}
