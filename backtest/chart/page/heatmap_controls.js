"use strict";
// Pointer, wheel, keys and controls of a heatmap to explore (heatmap.js), and its start.
const fingers = new Map();
let apart = 0;
const spread = () => { const [a, b] = [...fingers.values()]; return Math.hypot(a.x - b.x, a.y - b.y); };
const place = event => { const rect = box.getBoundingClientRect(); return { x: event.clientX - rect.left, y: event.clientY - rect.top }; };
box.addEventListener("pointerdown", event => { box.setPointerCapture(event.pointerId); fingers.set(event.pointerId, place(event)); if (fingers.size === 2) apart = spread(); });
box.addEventListener("pointermove", event => {
  const now = place(event), before = fingers.get(event.pointerId);
  hovered = now;
  if (!before) { hover(); return; }
  fingers.set(event.pointerId, now);
  if (fingers.size === 2) { const wide = spread(); if (wide > 0) zoom(apart / wide, now.x, now.y); apart = wide; }
  else move(now.x - before.x, now.y - before.y);
});
for (const name of ["pointerup", "pointercancel"]) box.addEventListener(name, event => fingers.delete(event.pointerId));
box.addEventListener("pointerleave", () => { hovered = null; hover(); });
box.addEventListener("wheel", event => { event.preventDefault(); const at = place(event); zoom(event.deltaY > 0 ? 1.2 : 1 / 1.2, at.x, at.y, !event.shiftKey); }, { passive: false });
box.addEventListener("dblclick", () => { Object.assign(state, HOME); soon(); });
box.addEventListener("keydown", event => {
  const keys = { ArrowLeft: () => move(40, 0), ArrowRight: () => move(-40, 0), ArrowUp: () => move(0, 40), ArrowDown: () => move(0, -40),
    "+": () => zoom(1 / 1.25, size.w / 2, size.h / 2), "-": () => zoom(1.25, size.w / 2, size.h / 2), 0: () => { Object.assign(state, HOME); soon(); } };
  if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
});

function controls() {
  const checks = [["long", "Longs"], ["short", "Shorts"]].map(([name, word]) => [word, () => state[name], on => { state[name] = on; }]);
  if (DATA.groups.length > 1) DATA.groups.forEach((word, number) => checks.push([word, () => state.groups[number], on => { state.groups[number] = on; }]));
  if (DATA.events.length) checks.push(["recorded liquidations", () => state.recorded, on => { state.recorded = on; }]);
  for (const [word, get, set] of checks) {
    const label = document.createElement("label"), input = document.createElement("input");
    input.type = "checkbox"; input.checked = get(); input.name = word;
    input.addEventListener("change", () => { set(input.checked); add(); soon(); });
    label.append(input, ` ${word}`); $("filters").append(label);
  }
  const bind = (name, read, write) => { $(name).value = read(); $(name).addEventListener("input", () => { write($(name).value); soon(); }); };
  bind("floor", () => state.floor > 0 ? Math.log10(state.floor) : -4, value => { state.floor = +value <= -4 ? 0 : 10 ** +value; });
  bind("scale", () => state.scale, value => { state.scale = value; });
  bind("drawn", () => state.candles ? "candles" : "line", value => { state.candles = value === "candles"; });
  bind("look", () => state.look, value => { state.look = value; document.body.dataset.look = value; });
  $("zone").innerHTML = [...new Set(["UTC", DATA.zone, ""])].map(zone => `<option value="${zone}">${zone || "local"}</option>`).join("");
  bind("zone", () => state.zone, value => { state.zone = value; });
  $("home").addEventListener("click", () => { Object.assign(state, HOME, { at: null }); soon(); });
  document.body.dataset.look = state.look;
  for (const row of document.querySelectorAll("tr[data-name]")) {
    const go = () => {
      state.at = +row.dataset.name;
      const cluster = DATA.clusters[state.at], middle = binOf((cluster.low + cluster.high) / 2), high = Math.max(24, 4 * (binOf(cluster.high) - binOf(cluster.low)));
      zoomTo(state.c0, state.c1, middle - high, middle + high); soon();
      for (const other of document.querySelectorAll("tr[data-name]")) other.classList.toggle("chosen", other === row);
    };
    row.addEventListener("click", go);
    row.addEventListener("keydown", event => { if (event.key === "Enter") go(); });
  }
}

window.levels = { state, ticks, columnOf, cumulative, sum: () => SIDES.reduce((found, name) => found + total[name].reduce((a, b) => a + b, 0), 0), cell: (px, py) => { hovered = { x: px, y: py }; const found = cell(); return { ...found, low: DATA.edges[found.bin], time: DATA.ends[found.column] }; }, hover };
Promise.all(DATA.cells.map(pair => Promise.all(pair.map(decoded)))).then(all => {
  parts = all.map(([long, short]) => ({ long, short }));
  recall(); add(); controls(); fit();
  new ResizeObserver(fit).observe(box);
  document.body.dataset.ready = "yes";
});
