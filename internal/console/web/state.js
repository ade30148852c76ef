// What the page knows, in one place, and who wants to hear of changes.

export const state = {
  link: "connecting", // open, lost, ended
  version: "", started: 0, skew: 0, // ms that the pod's clock is ahead of ours
  instances: new Map(), lives: [], samples: [],
  items: new Map(), order: [], loaded: false, // jobs as the API lists them, the newest first
  working: new Map(), // jobs at work, as events tell
  lines: [], dropped: 0,
  selected: null, // id of a job
};

// now is the time by the pod's clock.
export const now = () => Date.now() + state.skew;

const listeners = new Map();
let changes = new Set(), frame = 0;

// on calls f once for each frame in which one of the topics has changed.
export function on(topics, f) {
  for (const t of topics.split(" ")) listeners.set(t, [...(listeners.get(t) ?? []), f]);
}

export function changed(...topics) {
  topics.forEach(t => changes.add(t));
  frame ||= requestAnimationFrame(() => {
    const seen = changes, called = new Set();
    frame = 0;
    changes = new Set();
    for (const t of seen) for (const f of listeners.get(t) ?? []) called.add(f);
    for (const f of called) f(seen);
  });
}

// statusOf is a job's status, of which events know first.
export function statusOf(item) {
  return item.status === "IN_QUEUE" && state.working.has(item.id) ? "IN_PROGRESS" : item.status;
}

export function select(id) {
  if (state.selected === id) return;
  state.selected = id;
  changed("selected");
}

// What moves by itself: uptimes, waits.
setInterval(() => { if (!document.hidden) changed("clock"); }, 1000);
