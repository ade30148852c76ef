// The local API.

// A Problem is an answer that is none of those hoped for.
export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let askLogin = () => {};
export function onLogin(f) { askLogin = f; }

export async function call(method, path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method, credentials: "same-origin", cache: "no-store",
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body),
    });
  } catch {
    throw new Problem(0, "comfyvisor does not answer");
  }
  const text = await answer.text();
  let json = null;
  try { json = JSON.parse(text); } catch { /* not every answer is JSON */ }
  if (answer.ok) return json;
  if (answer.status === 401) askLogin();
  const told = json && (typeof json.error === "string" ? json.error : json.error?.message ?? json.message);
  throw new Problem(answer.status, told || text.trim().slice(0, 400) || answer.statusText);
}

const job = id => "/jobs/" + encodeURIComponent(id);

export const api = {
  jobs: (limit, before) => call("GET", "/jobs?limit=" + limit + (before ? "&before=" + encodeURIComponent(before) : "")),
  job: id => call("GET", job(id)),
  run: input => call("POST", "/run", { input }),
  cancel: id => call("POST", "/cancel/" + encodeURIComponent(id)),
  retry: id => call("POST", "/retry/" + encodeURIComponent(id)),
  restart: force => call("POST", "/restart", { force }),
  login: token => call("POST", "/login", { token }),
};

export const previewURL = w => "/console/preview?job=" + encodeURIComponent(w.id) + "&n=" + w.preview;
