// What a client of RunPod does, by RunPod's own library: node client.js URL KEY FILE
import { writeFileSync } from "node:fs";
import runpodSdk from "runpod-sdk";

const [baseUrl, key, file] = process.argv.slice(2);
const endpoint = runpodSdk(key, { baseUrl }).endpoint("my-endpoint");
const input = (what) => ({ input: { what }, policy: { executionTimeout: 60000, ttl: 60000, lowPriority: true } });

const told = {};
told.health = await endpoint.health();
told.sync = await endpoint.runSync(input("fine"));
told.slow = await endpoint.runSync(input("slow"), 1000); // the wait ends before the job

const queued = await endpoint.run(input("fine"));
told.run = queued;
told.stream = [];
for await (const part of endpoint.stream(queued.id, 60000)) told.stream.push(part);
told.status = await endpoint.status(queued.id);
told.statusSync = await endpoint.statusSync(queued.id);
told.broken = await endpoint.runSync(input("broken"));

const held = await endpoint.run(input("held"));
told.cancel = await endpoint.cancel(held.id);
told.cancelled = await endpoint.status(held.id);
told.purge = await endpoint.purgeQueue();
try {
  await endpoint.status("nobody");
} catch (e) {
  told.unknown = e.response?.status ?? String(e);
}
try {
  await runpodSdk("wrong", { baseUrl }).endpoint("x").health();
} catch (e) {
  told.refused = e.response?.status ?? String(e);
}
writeFileSync(file, JSON.stringify(told)); // the library itself writes to standard output
