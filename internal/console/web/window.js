// A long list of which only the rows in view exist.

import { h } from "./dom.js";

const margin = 8; // rows beyond either edge

// windowed shows rows of one height. Make returns an element for a row, and
// refresh fills it anew for row i. It returns what its owner calls: length sets
// how many rows there are, draw shows them again.
export function windowed(scroller, height, make, refresh) {
  const space = h("div.window", { role: "presentation" });
  const rows = new Map(); // by index
  const spare = [];
  let length = 0, frame = 0;
  scroller.append(space);

  function draw() {
    const first = Math.max(0, Math.floor(scroller.scrollTop / height) - margin);
    const end = Math.min(length, Math.ceil((scroller.scrollTop + scroller.clientHeight) / height) + margin);
    for (const [i, el] of rows) {
      if (i < first || i >= end) {
        el.hidden = true;
        rows.delete(i);
        spare.push(el);
      }
    }
    for (let i = first; i < end; i++) {
      let el = rows.get(i);
      if (!el) {
        el = spare.pop() ?? space.appendChild(make());
        el.hidden = false;
        el.style.transform = `translateY(${i * height}px)`;
        rows.set(i, el);
      }
      refresh(el, i);
    }
  }
  const soon = () => { frame ||= requestAnimationFrame(() => { frame = 0; draw(); }); };
  scroller.addEventListener("scroll", soon, { passive: true });
  new ResizeObserver(soon).observe(scroller);

  return {
    draw,
    row: i => rows.get(i),
    set length(n) {
      if (n !== length) space.style.height = n * height + "px";
      length = n;
      draw();
    },
    // reveal scrolls until row i is in view.
    reveal(i) {
      const top = i * height, bottom = top + height;
      if (top < scroller.scrollTop) scroller.scrollTop = top;
      else if (bottom > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = bottom - scroller.clientHeight;
      draw();
    },
    get atEnd() { return scroller.scrollTop + scroller.clientHeight >= scroller.scrollHeight - height; },
    toEnd() {
      scroller.scrollTop = scroller.scrollHeight;
      draw();
    },
  };
}
