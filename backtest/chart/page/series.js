"use strict";
// Panels of series over one time axis to explore, from the JSON of id "series": hover, zoom, symbols, a look, a zone.
const DATA = JSON.parse(document.getElementById("series").textContent);
const $ = name => document.getElementById(name), box = $("panels"), plot = $("plot"), reading = $("reading");
const LEFT = 64, RIGHT = 12, BELOW = 34, ABOVE = 22, GAP = 12, NAMES = Object.keys(DATA.symbols);
const state = { symbol: NAMES[0], c0: 0, c1: 1, look: DATA.look, zone: DATA.zone, off: new Set() };
let size = { w: 0, h: 0, ratio: 1 }, hovered = null, waiting = false, settling = 0;

const own = () => DATA.symbols[state.symbol], count = () => own().ends.length, startOf = column => column > 0 ? own().ends[column - 1] : own().start;
const text = (value, digits = 4) => value.toLocaleString("en-GB", { maximumSignificantDigits: digits });
const compact = value => {
  for (const [unit, word] of [[1e12, " tn"], [1e9, " bn"], [1e6, " m"], [1e3, " k"]]) if (Math.abs(value) >= unit) return text(value / unit, 3) + word;
  return text(value, 3);
};
const written = (value, unit) => value === null ? "unknown" : unit === "price" ? text(value, 7) : unit === "share" ? `${text(100 * value, 3)} %`
  : DATA.money ? `${compact(value)} ${DATA.money}` : `${text(100 * value / DATA.whole, 3)} % of what was opened`;
const short = (given, unit, value = given || 0) => unit === "price" ? text(value, 6) : unit === "share" ? `${text(100 * value, 3)} %` : DATA.money ? compact(value) : `${text(100 * value / DATA.whole, 2)} %`;
const x = column => LEFT + (column - state.c0) / (state.c1 - state.c0) * (size.w - LEFT - RIGHT);
const columnAt = px => state.c0 + (px - LEFT) / (size.w - LEFT - RIGHT) * (state.c1 - state.c0);
const timeAt = column => { const low = Math.max(0, Math.min(count() - 1, Math.floor(column))); return startOf(low) + (column - low) * (own().ends[low] - startOf(low)); };
function columnOf(ms) {
  let low = 0, high = count() - 1;
  while (high > low) { const middle = (low + high) >> 1; if (own().ends[middle] >= ms) high = middle; else low = middle + 1; }
  return low + (ms - startOf(low)) / (own().ends[low] - startOf(low));
}
const shown = panel => panel.series.filter(each => !state.off.has(each.name));
const visible = () => [Math.max(0, Math.floor(state.c0)), Math.min(count(), Math.ceil(state.c1))];

// Lowest and highest of what a panel shows: bars reach from zero, and those that point down are written with their sign off.
function range(panel) {
  const [first, last] = visible();
  let low = panel.kind === "bars" || panel.zero ? 0 : Infinity, high = panel.kind === "bars" || panel.zero ? 0 : -Infinity;
  for (const each of shown(panel)) for (let c = first; c < last; c++) {
    const value = own()[each.key][c];
    if (value !== null) { const drawn = each.down ? -value : value; if (drawn < low) low = drawn; if (drawn > high) high = drawn; }
  }
  if (!(high > low)) { const middle = Number.isFinite(low) ? low : 0; low = middle - Math.max(1e-9, Math.abs(middle) * 0.01); high = middle + Math.max(1e-9, Math.abs(middle) * 0.01); }
  const room = (high - low) * 0.05;
  return [panel.kind === "bars" && low === 0 ? 0 : low - room, high + room];
}
const ticksOf = (low, high, many) => {
  const raw = (high - low) / many, power = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 2.5, 5, 10].map(times => times * power).find(each => each >= raw), found = [];
  for (let at = Math.ceil(low / step); at * step <= high; at++) found.push(at * step);
  return found;
};
const ticks = () => TIMES.ticks(timeAt(state.c0), timeAt(state.c1), state.zone, Math.max(2, (size.w - LEFT) / 60)).filter(tick => x(columnOf(tick.ms)) < size.w - 18);

function draw() {
  const ratio = size.ratio, look = DATA.looks[state.look], context = plot.getContext("2d");
  plot.width = Math.round(size.w * ratio); plot.height = Math.round(size.h * ratio);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.fillStyle = look.paper; context.fillRect(0, 0, size.w, size.h);
  context.font = "12px system-ui, sans-serif";
  const weights = DATA.panels.reduce((sum, panel) => sum + panel.height, 0), room = size.h - BELOW - DATA.panels.length * (ABOVE + GAP);
  let top = 0;
  for (const panel of DATA.panels) {
    const high = room * panel.height / weights;
    one(context, panel, look, top + ABOVE, high);
    top += ABOVE + high + GAP;
  }
  context.fillStyle = look.muted; context.textBaseline = "top";
  for (const { ms, label, more } of ticks()) {
    const at = x(columnOf(ms)), whole = Math.max(context.measureText(label).width, context.measureText(more).width);
    context.textAlign = "center";
    context.fillText(label, Math.max(at, whole / 2), size.h - BELOW + 4); context.fillText(more, Math.max(at, whole / 2), size.h - BELOW + 18);
  }
  hair(context, look);
}

function one(context, panel, look, top, high) {
  const [low, most] = range(panel), y = value => top + high - (value - low) / (most - low) * high, [first, last] = visible();
  context.textBaseline = "alphabetic"; context.textAlign = "left"; context.fillStyle = look.muted;
  context.fillText(panel.title, LEFT, top - 7);
  let right = size.w - RIGHT;
  context.textAlign = "right";
  if (size.w > 560) for (const each of [...shown(panel)].reverse()) {
    context.fillStyle = look[each.colour]; context.fillText(each.name, right, top - 7); right -= context.measureText(each.name).width + 14;
  }
  const unit = panel.series[0].unit, scale = unit === "money" && !DATA.money ? DATA.whole / 100 : 1;
  for (const value of ticksOf(low / scale, most / scale, Math.max(2, high / 42)).map(each => each * scale)) {
    context.strokeStyle = look.faint; context.lineWidth = 1; context.beginPath(); context.moveTo(LEFT, y(value)); context.lineTo(size.w - RIGHT, y(value)); context.stroke();
    context.fillStyle = look.muted; context.textBaseline = "middle"; context.fillText(short(panel.kind === "bars" ? Math.abs(value) : value, unit), LEFT - 6, y(value));
  }
  context.save(); context.beginPath(); context.rect(LEFT, top - 1, size.w - LEFT - RIGHT, high + 2); context.clip();
  for (const each of shown(panel)) {
    context.strokeStyle = context.fillStyle = look[each.colour]; context.lineWidth = 1.3; context.beginPath();
    let on = false;
    for (let c = first; c < last; c++) {
      const value = own()[each.key][c];
      if (value === null) { on = false; continue; }
      if (panel.kind === "bars") {
        const to = y(each.down ? -value : value), from = y(0), wide = Math.max(1, x(c + 1) - x(c));
        if (value) context.fillRect(x(c), Math.min(from, to), wide, Math.max(1, Math.abs(to - from)));
      } else { context[on ? "lineTo" : "moveTo"](x(c + 1), y(value)); on = true; }
    }
    if (panel.kind !== "bars") context.stroke();
  }
  context.restore();
}

// What is under the cross: the figures of its column.
function column() { return Math.max(0, Math.min(count() - 1, hovered === null ? count() - 1 : Math.floor(columnAt(hovered)))); }
function hair(context, look) {
  const at = column(), words = [`${TIMES.words(own().ends[at], state.zone)}${state.zone === "UTC" ? " UTC" : ""}`];
  if (hovered !== null) { context.strokeStyle = look.muted; context.lineWidth = 0.8; context.beginPath(); context.moveTo(x(at + 1), 0); context.lineTo(x(at + 1), size.h - BELOW); context.stroke(); }
  for (const panel of DATA.panels) for (const each of shown(panel)) words.push(`${each.name} ${written(own()[each.key][at], each.unit)}`);
  reading.textContent = words.join("   ");
}

function to(c0, c1) {
  const wide = Math.min(count(), Math.max(4, c1 - c0));
  state.c0 = Math.max(0, Math.min(count() - wide, c0)); state.c1 = state.c0 + wide;
  soon();
}
const zoom = (factor, px) => { const at = columnAt(px); to(at - (at - state.c0) * factor, at + (state.c1 - at) * factor); };
const move = px => { const by = -px / (size.w - LEFT - RIGHT) * (state.c1 - state.c0); to(state.c0 + by, state.c1 + by); };
const home = () => to(0, count());
function soon() {
  if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; draw(); }); }
  clearTimeout(settling); settling = setTimeout(keep, 250);
}
function keep() { history.replaceState(null, "", `#${encodeURIComponent(state.symbol)};${state.c0.toFixed(2)},${state.c1.toFixed(2)};${state.look};${state.zone}`); }
function recall() {
  const [symbol, view, look, zone] = location.hash.slice(1).split(";").map(decodeURIComponent), [c0, c1] = (view || "").split(",").map(Number);
  if (DATA.symbols[symbol]) state.symbol = symbol;
  state.c1 = count();
  if (c1 > c0) to(c0, c1);
  if (DATA.looks[look]) state.look = look;
  if (["UTC", "", DATA.zone].includes(zone)) state.zone = zone;
}

const fingers = new Map();
let apart = 0;
const place = event => event.clientX - box.getBoundingClientRect().left, spread = () => { const [a, b] = [...fingers.values()]; return Math.abs(a - b); };
box.addEventListener("pointerdown", event => { box.setPointerCapture(event.pointerId); fingers.set(event.pointerId, place(event)); if (fingers.size === 2) apart = spread(); });
box.addEventListener("pointermove", event => {
  const now = place(event), before = fingers.get(event.pointerId);
  hovered = now;
  if (before === undefined) { soon(); return; }
  fingers.set(event.pointerId, now);
  if (fingers.size === 2) { const wide = spread(); if (wide > 0) zoom(apart / wide, now); apart = wide; } else move(now - before);
});
for (const name of ["pointerup", "pointercancel"]) box.addEventListener(name, event => fingers.delete(event.pointerId));
box.addEventListener("pointerleave", () => { hovered = null; soon(); });
box.addEventListener("wheel", event => { event.preventDefault(); zoom(event.deltaY > 0 ? 1.2 : 1 / 1.2, place(event)); }, { passive: false });
box.addEventListener("dblclick", home);
box.addEventListener("keydown", event => {
  const keys = { ArrowLeft: () => move(40), ArrowRight: () => move(-40), "+": () => zoom(1 / 1.25, size.w / 2), "-": () => zoom(1.25, size.w / 2), 0: home };
  if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
});

function choices(name, values, key) {
  $(name).innerHTML = values.map(([value, word]) => `<option value="${value}">${word}</option>`).join("");
  $(name).value = state[key];
  $(name).addEventListener("input", () => { const span = [timeAt(state.c0), timeAt(state.c1)]; state[key] = $(name).value; document.body.dataset.look = state.look; to(columnOf(span[0]), columnOf(span[1])); });
}
for (const each of DATA.panels.flatMap(panel => panel.series)) {
  if ([...$("filters").children].some(label => label.textContent.trim() === each.name)) continue;
  const label = document.createElement("label"), input = document.createElement("input");
  input.type = "checkbox"; input.checked = true; input.name = each.name;
  input.addEventListener("change", () => { state.off[input.checked ? "delete" : "add"](each.name); soon(); });
  label.append(input, ` ${each.name}`); $("filters").append(label);
}
recall();
choices("symbol", NAMES.map(name => [name, name]), "symbol");
choices("look", [["light", "light"], ["dark", "dark"]], "look");
choices("zone", [...new Set(["UTC", DATA.zone, ""])].map(zone => [zone, zone || "local"]), "zone");
$("home").addEventListener("click", home);
document.body.dataset.look = state.look;
const fit = () => { size = { w: box.clientWidth, h: box.clientHeight, ratio: Math.min(2, window.devicePixelRatio || 1) }; draw(); };
new ResizeObserver(fit).observe(box);
fit();
window.series = { state, ticks, columnOf, at: px => { hovered = px; const found = column(); draw(); return { column: found, ...Object.fromEntries(Object.entries(own()).map(([key, values]) => [key, Array.isArray(values) ? values[found] : values])) }; } };
document.body.dataset.ready = "yes";
