// Making elements. Text becomes text nodes and nothing else, wherever it is from.

const svgTags = new Set(["svg", "path", "line", "circle", "use", "title", "g"]);

// h makes an element: h("div.card", {hidden: true, on: {click: f}}, "text", child).
export function h(spec, props = {}, ...children) {
  const [tag, ...classes] = spec.split(".");
  const el = svgTags.has(tag) && props.svg !== false
    ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  if (classes.length) el.setAttribute("class", classes.join(" "));
  for (const [name, value] of Object.entries(props)) {
    if (name === "on") for (const [type, f] of Object.entries(value)) el.addEventListener(type, f);
    else if (name === "svg" || value === undefined || value === null || value === false) continue;
    else if (name === "class") el.setAttribute("class", [el.getAttribute("class"), value].filter(Boolean).join(" "));
    else if (name === "value") el.value = value;
    else el.setAttribute(name, value === true ? "" : value);
  }
  put(el, ...children);
  return el;
}

// put appends children: elements, texts, lists of them; nothing for null and false.
export function put(el, ...children) {
  for (const c of children.flat(Infinity)) {
    if (c !== null && c !== undefined && c !== false) el.append(c);
  }
  return el;
}

// fill replaces what is in an element.
export function fill(el, ...children) {
  el.replaceChildren();
  return put(el, ...children);
}

// say sets a text, if it is another one.
export function say(el, text) {
  if (el.textContent !== text) el.textContent = text;
}

export const $ = id => document.getElementById(id);

// glyph is the shape of a status: its kind tells it without its colour, too.
export function glyph(kind) {
  return h("svg.glyph", { class: "is-" + kind, "aria-hidden": "true" }, h("use", { href: "#i-" + kind }));
}

export function button(text, f, props = {}) {
  return h("button", { type: "button", ...props, on: { click: f } }, text);
}
