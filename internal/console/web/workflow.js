// What a file that somebody drops may be.

// read finds the workflow in a text: alone, or as part of a job. It throws an
// error that says what is wrong, and what to do.
export function read(text) {
  if (!text.trim()) throw new Error("");
  let doc;
  try {
    doc = JSON.parse(text);
  } catch (e) {
    throw new Error("This is not JSON: " + e.message);
  }
  const input = doc?.input ?? doc;
  const workflow = input?.workflow ?? input?.prompt ?? input;
  if (Array.isArray(workflow?.nodes)) {
    throw new Error("This is the editor's own format. In ComfyUI, choose Workflow → Export (API), and drop that file here.");
  }
  const nodes = workflow && typeof workflow === "object" && !Array.isArray(workflow) ? Object.entries(workflow) : [];
  if (nodes.length === 0) throw new Error("There are no nodes in it. A workflow in API format looks like {\"1\": {\"class_type\": …, \"inputs\": …}}.");
  const odd = nodes.find(([, n]) => typeof n?.class_type !== "string");
  if (odd) throw new Error(`Node ${odd[0]} has no class_type: this is no workflow in API format.`);
  return { workflow, images: Array.isArray(input.images) ? input.images.filter(i => i?.image) : [] };
}

// wants are the input files that a workflow loads: [node, title, name].
export function wants(workflow) {
  return Object.entries(workflow)
    .filter(([, n]) => /^Load(Image|ImageMask|Audio|Video)$/.test(n.class_type))
    .map(([id, n]) => [id, n._meta?.title ?? n.class_type, n.inputs?.image ?? n.inputs?.audio ?? n.inputs?.file])
    .filter(w => typeof w[2] === "string");
}

// example runs on every ComfyUI: it needs no model.
export const example = {
  1: { class_type: "EmptyImage", inputs: { width: 512, height: 512, batch_size: 1, color: 4936680 }, _meta: { title: "A plain colour" } },
  2: { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "test" }, _meta: { title: "Save" } },
};
