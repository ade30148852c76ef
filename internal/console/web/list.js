// Jobs as the API lists them.

import { api } from "./api.js";
import { changed, state } from "./state.js";

const headSize = 100, pageSize = 500, headEvery = 300, wholeEvery = 30_000;
let headTimer = 0, loading = null;

// light keeps of a job what lists show.
function light({ input, values, details, ...item }) { return item; }

function sort() {
  state.order = [...state.items.values()]
    .sort((a, b) => b.createdAt - a.createdAt || b.seq - a.seq).map(i => i.id);
  changed("jobs");
}

let seq = 0;
function keep(item) {
  state.items.set(item.id, { ...light(item), seq: state.items.get(item.id)?.seq ?? ++seq });
}

// loadAll reads the whole list, page by page, and forgets what is gone from it.
export function loadAll() {
  loading ??= (async () => {
    try {
      const all = [];
      for (let more = true, limit = headSize; more; limit = pageSize) {
        const page = await api.jobs(limit, all.at(-1)?.id);
        all.push(...page.jobs);
        more = page.more && page.jobs.length > 0;
        if (!state.loaded || !more) merge(all, !more);
      }
    } catch { /* said by who cannot reach the pod */ } finally {
      loading = null;
    }
  })();
  return loading;
}

function merge(all, whole) {
  if (whole) {
    const there = new Set(all.map(i => i.id));
    for (const id of state.items.keys()) if (!there.has(id)) state.items.delete(id);
    state.loaded = true;
  }
  for (let i = all.length - 1; i >= 0; i--) keep(all[i]); // the oldest gets the lowest number
  sort();
}

// headSoon reads the newest jobs, once for many calls.
export function headSoon() {
  headTimer ||= setTimeout(async () => {
    headTimer = 0;
    try {
      merge((await api.jobs(headSize)).jobs, false);
    } catch { /* as above */ }
  }, headEvery);
}

// refreshJob reads one job and returns all of it, null if it is not there.
export async function refreshJob(id) {
  try {
    const job = await api.job(id);
    keep(job);
    sort();
    changed("job:" + id, "fetched");
    return job;
  } catch (e) {
    if (e.status === 404 && state.items.delete(id)) sort();
    return null;
  }
}

// Jobs that wait are told of by no event, and old ones are forgotten.
setInterval(() => { if (!document.hidden && state.link === "open") headSoon(); }, 3000);
setInterval(() => { if (!document.hidden && state.link === "open") loadAll(); }, wholeEvery);
