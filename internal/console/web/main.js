// The page: everything is started here.

import { close, startDetail } from "./detail.js";
import { $, button, h } from "./dom.js";
import { startJobs, step } from "./jobs.js";
import { connect } from "./live.js";
import { pause, startLog } from "./log.js";
import { edit, openRun, startRun, tryExample } from "./run.js";
import { nextTheme, showKeys, startShell } from "./shell.js";
import { startSide } from "./side.js";
import { state } from "./state.js";

const teach = () => h("div.teach", {},
  h("h2", {}, "Run your first workflow"),
  h("ol", {},
    h("li", {}, h("span", {}, "In ComfyUI, choose ", h("b", {}, "Workflow → Export (API)"), ".")),
    h("li", {}, h("span", {}, "Drop the file anywhere on this page, with the pictures that it loads.")),
    h("li", {}, h("span", {}, "Watch it run here; what it makes appears in this place."))),
  h("div.zone", {}, h("svg", { viewBox: "0 0 48 48", "aria-hidden": "true" }, h("use", { href: "#i-drop" })),
    h("p", {}, "Drop a workflow here, or ", button("choose one", openRun, { class: "link" }), "."),
    h("p.count", {}, "None at hand? ", button("Take a test picture", tryExample, { class: "link" }), ", for which ComfyUI needs no model.")));

const keys = {
  r: openRun, "/": () => $("jobs-search").focus(), l: () => $("log-text").focus(), p: pause, t: nextTheme, "?": showKeys,
  j: () => step(1), k: () => step(-1),
};

addEventListener("keydown", e => {
  const typing = e.target.matches?.("input, textarea, select");
  if (e.key === "Escape" && !document.querySelector("dialog[open]")) {
    if (typing) {
      e.target.value = "";
      e.target.dispatchEvent(new Event("input"));
      e.target.blur();
    } else if (state.selected) close();
    return;
  }
  if (typing || e.ctrlKey || e.metaKey || e.altKey || document.querySelector("dialog[open]")) return;
  const f = keys[e.key.length === 1 ? e.key.toLowerCase() : e.key];
  if (f) {
    e.preventDefault();
    f();
  }
});

startShell(connect);
startSide();
startRun();
startJobs(openRun);
startDetail({ teach, edit });
startLog();
$("new").addEventListener("click", openRun);
connect();
