// What the pod tells: a snapshot, then each change of it.

import { call } from "./api.js";
import { headSoon, refreshJob, loadAll } from "./list.js";
import { changed, state } from "./state.js";

const mostLines = 10_000, mostSamples = 720, mostLives = 50;
let source = null, retry = 0;

const handlers = {
  snapshot(s) {
    Object.assign(state, {
      version: s.version, started: s.started, skew: s.now - Date.now(),
      instances: new Map(s.instances.map(i => [i.name, i])), lives: s.lives, samples: s.samples,
      working: new Map(s.jobs.map(j => [j.id, j])), lines: s.lines, dropped: s.dropped,
    });
    changed("link", "comfy", "lives", "gauges", "jobs", "progress", "log-all");
    loadAll();
  },
  child: told, gate: told,
  job(j) {
    if (j.phase === "done") {
      state.working.delete(j.id);
      refreshJob(j.id);
    } else {
      state.working.set(j.id, j);
      if (!state.items.has(j.id)) headSoon();
    }
    changed("jobs", "progress");
  },
  progress(j) {
    if (!state.working.has(j.id)) return; // it has ended
    state.working.set(j.id, j);
    changed("progress");
  },
  lines(l) {
    state.lines.push(...l.lines);
    state.dropped = l.dropped;
    if (state.lines.length > mostLines) {
      state.lines = state.lines.slice(-mostLines + 1000); // not at every line
      changed("log-all");
    }
    changed("log");
  },
  gauges(s) {
    state.samples = [...state.samples, s].slice(-mostSamples);
    changed("gauges");
  },
  missed() { changed("link"); }, // a snapshot follows
  end() { lost("ended"); },
};

function told({ instance, life }) {
  state.instances.set(instance.name, instance);
  if (life) {
    const same = l => l.instance === life.instance && l.incarnation === life.incarnation && l.start === life.start;
    const at = state.lives.findIndex(same);
    if (at >= 0) state.lives[at] = life;
    else state.lives = [...state.lives, life].slice(-mostLives);
  }
  changed("comfy", "lives");
}

export function connect() {
  clearTimeout(retry);
  source?.close();
  source = new EventSource("/console/events");
  source.onopen = () => link("open");
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) lost("lost"); // refused: it will not try again by itself
    else link("lost");
  };
  for (const [kind, f] of Object.entries(handlers)) {
    source.addEventListener(kind, e => f(JSON.parse(e.data)));
  }
}

function link(how) {
  state.link = how;
  changed("link");
}

function lost(how) {
  source.close();
  link(how);
  clearTimeout(retry);
  retry = setTimeout(again, 1500);
}

// again looks whether somebody is there before it opens a stream, whose error
// does not say why.
async function again() {
  try {
    await call("GET", "/jobs?limit=1");
    connect();
  } catch (e) {
    if (e.status !== 401) retry = setTimeout(again, 1500); // a login connects by itself
  }
}
