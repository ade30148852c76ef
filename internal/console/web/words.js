// How things are called, and how numbers are written.

// statuses of jobs: the word, and the kind of glyph.
export const statuses = {
  IN_QUEUE: ["Waiting", "wait"], IN_PROGRESS: ["Running", "busy"], COMPLETED: ["Done", "ok"],
  FAILED: ["Failed", "bad"], CANCELLED: ["Cancelled", "off"], TIMED_OUT: ["Timed out", "bad"],
};

export const phases = { take: "taken", prepare: "preparing", execute: "running", deliver: "delivering the results", done: "done" };

// ends says how an incarnation ended.
const ends = {
  planned: ["Replaced on purpose", "off"], reboot: ["Restarted itself", "off"], signal: ["Killed", "bad"], exit: ["Exited", "bad"],
  out_of_memory: ["Out of memory", "bad"], no_good: ["Stopped: it was no good", "warn"], start: ["Did not start", "bad"],
};

export function endOf(life) {
  if (!life.end) return life.ready ? ["Alive", "ok"] : ["Starting", "busy"];
  return ends[life.how] ?? ["Ended", "off"];
}

// stand is how a ComfyUI stands: the word, the kind, and why.
export function stand(in_) {
  if (in_.open) return ["Ready", "ok", ""];
  const words = {
    stopped: ["Stopped", "off"], running: ["Starting", "busy"], terminating: ["Stopping", "warn"], killing: ["Being killed", "warn"],
    backoff: ["Down, restarts soon", "bad"], failed: ["Given up", "bad"],
  };
  const [word, kind] = words[in_.state] ?? ["Not started", "off"];
  const again = in_.state === "running" && in_.incarnation > 1 ? "again after: " : "";
  return [word, kind, in_.state === "running" ? (in_.why ? again + in_.why : "it loads its nodes") : in_.reason || in_.why];
}

// device is the name of a GPU without how ComfyUI allocates on it.
export const device = name => name.replace(/^cuda:\d+ /, "").replace(/ : \w+$/, "");

export function span(ms) {
  if (!(ms >= 0)) return "";
  if (ms < 1000) return Math.round(ms) + " ms";
  if (ms < 10_000) return (ms / 1000).toFixed(1) + " s";
  const s = Math.round(ms / 1000);
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min " + String(s % 60).padStart(2, "0") + " s";
  if (s < 86400) return Math.floor(s / 3600) + " h " + String(Math.floor(s / 60) % 60).padStart(2, "0") + " min";
  return Math.floor(s / 86400) + " d " + Math.floor(s / 3600) % 24 + " h";
}

export function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let n = bytes, i = 0;
  while (n >= 999.5 && i < units.length - 1) { n /= 1000; i++; }
  return (i === 0 || n >= 99.5 ? Math.round(n) : n.toFixed(1)) + " " + units[i];
}

export function clock(ms) {
  return new Date(ms).toLocaleTimeString([], { hour12: false });
}

// when is a time of today, or a day.
export function when(ms) {
  const d = new Date(ms);
  return d.toDateString() === new Date().toDateString() ? clock(ms) : d.toLocaleDateString([], { month: "short", day: "numeric" }) + " " + clock(ms).slice(0, 5);
}

export function count(n, one, many = one + "s") {
  return n.toLocaleString() + " " + (n === 1 ? one : many);
}
