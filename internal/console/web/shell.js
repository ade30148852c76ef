// What is around everything: how the pod stands, dialogs, theme, keys.

import { api, onLogin } from "./api.js";
import { $, button, fill, glyph, h, say } from "./dom.js";
import { verdict } from "./side.js";
import { now, on, state } from "./state.js";
import { span } from "./words.js";

export function toast(text, kind = "") {
  const el = h("div.toast", { class: kind && "is-" + kind }, text);
  $("toasts").append(el);
  setTimeout(() => el.remove(), kind === "bad" ? 8000 : 3000);
}

export function startShell(connect) {
  on("comfy link", head);
  on("clock link", () => say($("meta"), state.version && `${state.version} · up ${span(now() - state.started)}`));
  on("link", banner);
  $("restart").addEventListener("click", askRestart);
  $("help").addEventListener("click", showKeys);
  $("theme").addEventListener("click", () => theme(next(localStorage.getItem("theme"))));
  theme(localStorage.getItem("theme"));
  onLogin(() => askToken(connect));
}

let stood = "";

// head says how ComfyUI stands, and only if that is news: it is read aloud.
function head() {
  const there = state.link === "open" || state.link === "connecting";
  const [word, kind, why] = !state.version ? ["Connecting", "busy", ""] : there ? verdict() : ["No connection", "warn", "last seen: " + verdict()[0].toLowerCase()];
  const key = [word, kind, why].join("|");
  if (key === stood) return;
  stood = key;
  fill($("stand"), glyph(kind), h("b", { class: "is-" + kind }, word), why && h("span.why", { title: why }, why));
  document.title = (kind === "ok" ? "" : word + " · ") + "comfyvisor";
}

function banner() {
  const texts = {
    lost: "The connection to comfyvisor is lost. What you see is how things were; it connects again by itself.",
    ended: "comfyvisor was stopped. This page connects again when it is back.",
  };
  say($("banner"), texts[state.link] ?? "");
  $("banner").hidden = !texts[state.link];
}

const themes = ["auto", "light", "dark"];
const next = t => themes[(themes.indexOf(t ?? "auto") + 1) % themes.length];

function theme(name) {
  name = themes.includes(name) ? name : "auto";
  localStorage.setItem("theme", name);
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  const text = { auto: "as the system", light: "light", dark: "dark" }[name];
  $("theme").title = `Colours: ${text} (T)`;
  $("theme").setAttribute("aria-label", `Colours: ${text}. Change`);
}

export function nextTheme() { $("theme").click(); }

function dialog(...children) {
  const d = $("ask");
  fill(d, ...children);
  if (!d.open) d.showModal();
  return d;
}

function askRestart() {
  const force = h("input", { type: "checkbox", id: "restart-force" });
  const d = dialog(h("h2", { id: "ask-title" }, "Restart ComfyUI?"),
    h("p", {}, "It is stopped and started again between two jobs: the one at hand is finished first, and those that wait are kept."),
    h("label.check", {}, force, " At once. The job at hand is interrupted, and runs again."),
    h("div.row.end", {}, button("Leave it", () => d.close()), button("Restart", async () => {
      d.close();
      try {
        toast((await api.restart(force.checked))?.message || "ComfyUI is restarted.");
      } catch (e) {
        toast(e.message, "bad");
      }
    }, { class: "primary", id: "restart-go" })));
}

let asking = false;

function askToken(connect) {
  if (asking) return;
  asking = true;
  const field = h("input", { type: "password", id: "token", autocomplete: "current-password", "aria-label": "API token" });
  const note = h("p.note.is-bad", { role: "alert" });
  const go = async () => {
    try {
      await api.login(field.value.trim());
      asking = false;
      d.close();
      connect();
    } catch (e) {
      say(note, e.status === 401 ? "That is not the token of this pod." : e.message);
      field.select();
    }
  };
  field.addEventListener("keydown", e => { if (e.key === "Enter") go(); });
  const d = dialog(h("h2", { id: "ask-title" }, "This pod asks for its token"),
    h("p", {}, "It is the value of API_TOKEN, with which comfyvisor was started. This browser keeps a cookie in its place."),
    h("div.row", {}, field, button("Log in", go, { class: "primary", id: "token-go" })), note);
  d.oncancel = e => { if (asking) e.preventDefault(); };
  field.focus();
}

const shortcuts = [
  ["R", "Run a workflow"], ["/", "Find a job"], ["J, K or ↓, ↑", "The next job, the one before"], ["Enter", "Read the job"],
  ["L", "Filter the log"], ["P", "Pause the log"], ["T", "Dark, light, or as the system"], ["Ctrl+Enter", "Send the workflow"], ["Esc", "Close"], ["?", "This list"],
];

export function showKeys() {
  const d = dialog(h("h2", { id: "ask-title" }, "Keyboard"),
    h("div.keys", {}, shortcuts.map(([key, what]) => [h("kbd", {}, key), h("span", {}, what)])),
    h("div.row.end", {}, button("Close", () => d.close(), { class: "primary" })));
}
