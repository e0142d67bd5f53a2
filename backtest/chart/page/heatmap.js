"use strict";
// A heatmap of open liquidation levels to explore, from the JSON of id "levels": hover, zoom, filters, a profile.
const DATA = JSON.parse(document.getElementById("levels").textContent);
const BINS = DATA.edges.length - 1, COLUMNS = DATA.ends.length, SIDES = ["long", "short"];
const $ = name => document.getElementById(name);
const plot = $("plot"), over = $("over"), side = $("profile"), reading = $("reading"), box = $("map");
const HOME = { c0: 0, c1: COLUMNS, b0: 0, b1: BINS };
const state = { ...HOME, long: true, short: true, groups: DATA.groups.map(() => true), floor: DATA.floor, scale: DATA.scale,
  candles: false, look: DATA.look, zone: DATA.zone, recorded: true, at: null };
let total = { long: new Float32Array(BINS * COLUMNS), short: new Float32Array(BINS * COLUMNS) }, parts = [], largest = 0;
let size = { w: 0, h: 0, ratio: 1 }, hovered = null, waiting = false, settling = 0;

const text = (value, digits = 4) => value.toLocaleString("en-GB", { maximumSignificantDigits: digits });
const percent = value => `${(100 * value).toLocaleString("en-GB", { maximumFractionDigits: 2, signDisplay: "exceptZero" })} %`;
const clock = ms => TIMES.words(ms, state.zone);
const amount = (value, whole) => DATA.money ? `${compact(value)} ${DATA.money}` : whole > 0 ? `${text(100 * value / whole, 3)} % of the open levels` : "none";
const compact = value => {
  for (const [unit, word] of [[1e12, " tn"], [1e9, " bn"], [1e6, " m"], [1e3, " k"]]) if (value >= unit) return text(value / unit, 3) + word;
  return text(value, 3);
};

// Amounts are logarithms in 16 bits, 0 for nothing.
async function decoded(code) {
  const bytes = Uint8Array.from(atob(code), letter => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const codes = new Uint16Array(await new Response(stream).arrayBuffer());
  const step = Math.log(DATA.most / DATA.least) / 65534, found = new Float32Array(codes.length);
  for (let i = 0; i < codes.length; i++) if (codes[i]) found[i] = DATA.least * Math.exp((codes[i] - 1) * step);
  return found;
}

function add() {
  for (const name of SIDES) total[name].fill(0);
  parts.forEach((part, number) => {
    if (state.groups[number]) for (const name of SIDES) if (state[name])
      for (let i = 0, own = part[name], all = total[name]; i < own.length; i++) all[i] += own[i];
  });
  largest = 0;
  for (let i = 0; i < BINS * COLUMNS; i++) largest = Math.max(largest, total.long[i] + total.short[i]);
}

// Bins are the axis of prices: equal steps of price, or of its logarithm.
function binOf(price) {
  let low = 0, high = BINS;
  while (high - low > 1) { const middle = (low + high) >> 1; if (DATA.edges[middle] <= price) low = middle; else high = middle; }
  return low + (price - DATA.edges[low]) / (DATA.edges[low + 1] - DATA.edges[low]);
}
const priceOf = bin => {
  const low = Math.max(0, Math.min(BINS - 1, Math.floor(bin)));
  return DATA.edges[low] + (bin - low) * (DATA.edges[low + 1] - DATA.edges[low]);
};
const x = column => (column - state.c0) / (state.c1 - state.c0) * size.w;
const y = bin => size.h - (bin - state.b0) / (state.b1 - state.b0) * size.h;
const columnAt = px => state.c0 + px / size.w * (state.c1 - state.c0);
const binAt = py => state.b0 + (size.h - py) / size.h * (state.b1 - state.b0);

function shades() {
  const look = DATA.looks[state.look];
  return look.heat.map(hex => [1, 3, 5].map(place => parseInt(hex.slice(place, place + 2), 16)));
}
const strength = value => {
  const share = Math.min(1, value / Math.min(largest, DATA.top)), least = Math.max(state.floor, 1e-4);
  if (state.scale === "linear") return share;
  return state.scale === "root" ? Math.sqrt(share) : Math.max(0, 1 - Math.log(share) / Math.log(least));
};

function draw() {
  const ratio = size.ratio, w = Math.max(1, Math.round(size.w * ratio)), h = Math.max(1, Math.round(size.h * ratio));
  for (const canvas of [plot, over]) if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
  const context = plot.getContext("2d"), look = DATA.looks[state.look], image = context.createImageData(w, h);
  const colours = shades(), least = state.floor * largest, whole = new Uint32Array(image.data.buffer);
  const packed = colours.map(([r, g, b]) => (255 << 24) | (b << 16) | (g << 8) | r);
  const paper = [1, 3, 5].map(place => parseInt(look.ground.slice(place, place + 2), 16));
  whole.fill((255 << 24) | (paper[2] << 16) | (paper[1] << 8) | paper[0]);
  const firstOf = [], lastOf = [];
  for (let px = 0; px < w; px++) {  // every cell that falls into a pixel: the largest is shown
    firstOf.push(Math.floor(columnAt(px / ratio)));
    lastOf.push(Math.max(firstOf[px], Math.ceil(columnAt((px + 1) / ratio)) - 1));
  }
  for (let py = 0; py < h; py++) {
    const top = binAt(py / ratio), b0 = Math.floor(binAt((py + 1) / ratio)), b1 = Math.max(b0, Math.ceil(top) - 1);
    for (let px = 0; px < w; px++) {
      let most = 0;
      for (let b = Math.max(0, b0); b <= b1 && b < BINS; b++)
        for (let c = Math.max(0, firstOf[px]); c <= lastOf[px] && c < COLUMNS; c++) {
          const value = total.long[b * COLUMNS + c] + total.short[b * COLUMNS + c];
          if (value > most) most = value;
        }
      if (most > 0 && most >= least) whole[py * w + px] = packed[Math.min(colours.length - 1, Math.floor(strength(most) * colours.length))];
    }
  }
  context.putImageData(image, 0, 0);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  prices(context, look);
  recorded(context, look);
  context.setTransform(1, 0, 0, 1, 0, 0);
  axes();
  hover();
}

function prices(context, look) {
  const first = Math.max(0, Math.floor(state.c0)), last = Math.min(COLUMNS, Math.ceil(state.c1));
  if (state.candles) {
    const wide = Math.max(1, size.w / (state.c1 - state.c0) * 0.7);
    for (let c = first; c < last; c++) if (DATA.close[c] !== null) {
      const up = DATA.close[c] >= DATA.open[c], middle = x(c + 0.5);
      context.strokeStyle = context.fillStyle = up ? look.up : look.down;
      context.beginPath(); context.moveTo(middle, y(binOf(DATA.high[c]))); context.lineTo(middle, y(binOf(DATA.low[c]))); context.stroke();
      const a = y(binOf(DATA.open[c])), b = y(binOf(DATA.close[c]));
      context.fillRect(middle - wide / 2, Math.min(a, b), wide, Math.max(1, Math.abs(a - b)));
    }
    return;
  }
  for (const [colour, width] of [[look.edge, 3.4], [look.mark, 1.5]]) {
    context.strokeStyle = colour; context.lineWidth = width; context.beginPath();
    let on = false;
    for (let c = first; c < last; c++) {
      if (DATA.close[c] === null) { on = false; continue; }
      const place = [x(c + 1), y(binOf(DATA.close[c]))];
      if (on) context.lineTo(...place); else context.moveTo(...place);
      on = true;
    }
    context.stroke();
  }
}

// Recorded liquidations: areas are amounts.
const radius = event => Math.max(1.5, 18 * Math.sqrt(event[2] / DATA.events[0][2]));
function recorded(context, look) {
  if (!state.recorded) return;
  for (const event of DATA.events) {
    const colour = look[event[3]] ?? look.mark;
    context.beginPath(); context.arc(x(columnOf(event[0])), y(binOf(event[1])), radius(event), 0, 2 * Math.PI);
    context.fillStyle = `${colour}59`; context.strokeStyle = colour; context.lineWidth = 1; context.fill(); context.stroke();
  }
}

function axes() {
  const rows = [], columns = [], between = Math.max(2, Math.floor(size.h / 70));
  const low = priceOf(state.b0), high = priceOf(state.b1), raw = (high - low) / between, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(times => times * power).find(each => each >= raw);
  const last = DATA.close.findLast(price => price !== null), tag = last === undefined ? -99 : y(binOf(last));
  for (let price = Math.ceil(low / step) * step; price <= high; price += step)
    if (Math.abs(y(binOf(price)) - tag) > 20) rows.push(`<span style="top:${y(binOf(price))}px">${text(price, 6)}</span>`);
  for (const { ms, label, more } of ticks()) {
    const at = x(columnOf(ms));
    columns.push(`<span style="left:${at}px;transform:translateX(${at < 24 ? "0" : "-50%"})">${label}${more ? `<br>${more}` : ""}</span>`);
  }
  $("prices").innerHTML = rows.join(""); $("times").innerHTML = columns.join("");
  $("tag").textContent = last === undefined ? "" : text(last, 7);
  $("tag").style.cssText = tag >= 0 && tag <= size.h ? `top:${tag}px` : "display:none";
}

// Round times of the zone in what is shown, none so near the right end that its label would be cut off.
const ticks = () => TIMES.ticks(timeAt(state.c0), timeAt(state.c1), state.zone, Math.max(2, size.w / 60)).filter(tick => x(columnOf(tick.ms)) < size.w - 16);
const timeAt = column => {
  const low = Math.max(0, Math.min(COLUMNS - 1, Math.floor(column)));
  return startOf(low) + (column - low) * (DATA.ends[low] - startOf(low));
};
const startOf = column => column > 0 ? DATA.ends[column - 1] : DATA.start;
function columnOf(ms) {
  let low = 0, high = COLUMNS - 1;
  while (high > low) { const middle = (low + high) >> 1; if (DATA.ends[middle] >= ms) high = middle; else low = middle + 1; }
  return low + (ms - startOf(low)) / (DATA.ends[low] - startOf(low));
}

// What lies under the cross: the open levels at the end of the column.
function cell() {
  const column = Math.max(0, Math.min(COLUMNS - 1, hovered ? Math.floor(columnAt(hovered.x)) : COLUMNS - 1));
  const bin = hovered ? Math.floor(binAt(hovered.y)) : -1, sums = { long: 0, short: 0 };
  for (const name of SIDES) for (let b = 0; b < BINS; b++) sums[name] += total[name][b * COLUMNS + column];
  DATA.outside.forEach((pair, number) => SIDES.forEach((name, side) => { if (state.groups[number] && state[name]) sums[name] += pair[side][column]; }));
  const inside = bin >= 0 && bin < BINS, own = name => inside ? total[name][bin * COLUMNS + column] : 0;
  return { column, bin, inside, long: own("long"), short: own("short"), sums };
}

function hover() {
  const found = cell(), look = DATA.looks[state.look], context = over.getContext("2d");
  context.setTransform(size.ratio, 0, 0, size.ratio, 0, 0);
  context.clearRect(0, 0, size.w, size.h);
  if (state.at !== null && DATA.clusters[state.at]) {
    const cluster = DATA.clusters[state.at], a = y(binOf(cluster.high)), b = y(binOf(cluster.low));
    context.strokeStyle = look.ink; context.setLineDash([4, 3]); context.strokeRect(0.5, a, size.w - 1, Math.max(2, b - a)); context.setLineDash([]);
  }
  const whole = found.sums.long + found.sums.short, close = DATA.close[found.column];
  const words = [`${clock(DATA.ends[found.column])}${state.zone === "UTC" ? " UTC" : ""}`];
  if (hovered) {
    context.strokeStyle = look.muted; context.lineWidth = 0.8; context.beginPath();
    context.moveTo(hovered.x, 0); context.lineTo(hovered.x, size.h); context.moveTo(0, hovered.y); context.lineTo(size.w, hovered.y); context.stroke();
    if (found.inside) {
      const middle = (DATA.edges[found.bin] + DATA.edges[found.bin + 1]) / 2;
      words.push(`${text(DATA.edges[found.bin], 7)} to ${text(DATA.edges[found.bin + 1], 7)}`);
      if (close !== null) words.push(`${percent(middle / close - 1)} from the mark`);
      for (const name of SIDES) if (found[name] > 0) words.push(`${name}s ${amount(found[name], whole)}`);
      if (!(found.long + found.short)) words.push("no levels");
      const near = state.recorded && DATA.events.find(event => Math.hypot(x(columnOf(event[0])) - hovered.x, y(binOf(event[1])) - hovered.y) < Math.max(6, radius(event)));
      if (near) words.push(`liquidated ${compact(near[2])} at ${text(near[1], 7)}`);
    }
  } else words.push(DATA.money ? `open then: longs ${amount(found.sums.long, whole)}, shorts ${amount(found.sums.short, whole)}`
    : whole ? `open then: ${text(100 * found.sums.long / whole, 3)} % longs` : "nothing open");
  if (close !== null) words.push(`open ${text(DATA.open[found.column], 7)}, high ${text(DATA.high[found.column], 7)}, low ${text(DATA.low[found.column], 7)}, close ${text(close, 7)}`);
  reading.textContent = words.join("   ");
  profile(found, look);
}

function profile(found, look) {
  const w = side.clientWidth, h = size.h, context = side.getContext("2d");
  if (!w) return;
  side.width = Math.round(w * size.ratio); side.height = Math.round(h * size.ratio);
  context.setTransform(size.ratio, 0, 0, size.ratio, 0, 0);
  let most = 0;
  for (let b = 0; b < BINS; b++) most = Math.max(most, total.long[b * COLUMNS + found.column] + total.short[b * COLUMNS + found.column]);
  for (let b = Math.max(0, Math.floor(state.b0)); b < Math.min(BINS, state.b1); b++) {
    const top = y(b + 1), high = Math.max(1, y(b) - top);
    let from = 0;
    for (const name of SIDES) {
      const wide = most ? total[name][b * COLUMNS + found.column] / most * (w - 4) : 0;
      context.fillStyle = look[name]; context.fillRect(from, top, wide, high); from += wide;
    }
  }
  const close = DATA.close[found.column];
  if (close !== null) for (const [name, points] of Object.entries(cumulative(found.column, Math.floor(binOf(close))))) {
    const whole = Math.max(found.sums.long, found.sums.short) || 1;
    context.strokeStyle = look[name]; context.lineWidth = 1.4; context.beginPath();
    points.forEach(([bin, sum], number) => context[number ? "lineTo" : "moveTo"](sum / whole * (w - 4), y(bin)));
    context.stroke();
  }
}
// What a move from the price to each bin would trigger: longs downwards, shorts upwards.
function cumulative(column, middle) {
  const found = { long: [[middle + 0.5, 0]], short: [[middle + 0.5, 0]] };
  for (let b = middle, sum = 0; b >= 0; b--) { sum += total.long[b * COLUMNS + column]; found.long.push([b, sum]); }
  for (let b = middle, sum = 0; b < BINS; b++) { sum += total.short[b * COLUMNS + column]; found.short.push([b + 1, sum]); }
  return found;
}

function fit() {
  size = { w: box.clientWidth, h: box.clientHeight, ratio: Math.min(2, window.devicePixelRatio || 1) };
  draw();
}
function soon() {
  if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; draw(); }); }
  clearTimeout(settling); settling = setTimeout(keep, 250);  // browsers allow few changes of an address in a second
}
function keep() {
  const view = ["c0", "c1", "b0", "b1"].map(name => +state[name].toFixed(2)).join(",");
  const on = [state.long, state.short, ...state.groups].map(Number).join("");
  history.replaceState(null, "", `#${view};${on};${state.floor};${state.scale};${+state.candles};${state.look};${state.zone};${+state.recorded}`);
}
function recall() {
  const [view, on, floor, scale, candles, look, zone, bubbles] = decodeURIComponent(location.hash.slice(1)).split(";");
  const [c0, c1, b0, b1] = (view || "").split(",").map(Number);
  if (zone === undefined || !["UTC", "", DATA.zone].includes(zone) || !(c1 > c0 && b1 > b0) || !DATA.looks[look] || !["log", "root", "linear"].includes(scale)) return;
  zoomTo(c0, c1, b0, b1);
  Object.assign(state, { long: on[0] === "1", short: on[1] === "1", floor: Math.min(1, Math.max(0, +floor || 0)), scale, candles: candles === "1", look, zone, recorded: bubbles !== "0" });
  state.groups = state.groups.map((_, number) => on[2 + number] !== "0");
}
function zoomTo(c0, c1, b0, b1) {
  const wide = Math.min(COLUMNS, Math.max(4, c1 - c0)), high = Math.min(BINS, Math.max(4, b1 - b0));
  state.c0 = Math.max(0, Math.min(COLUMNS - wide, c0)); state.c1 = state.c0 + wide;
  state.b0 = Math.max(0, Math.min(BINS - high, b0)); state.b1 = state.b0 + high;
}
function zoom(factor, px, py, both = true) {
  const c = columnAt(px), b = binAt(py), scale = (low, high, at, by) => [at - (at - low) * by, at + (high - at) * by];
  zoomTo(...scale(state.c0, state.c1, c, factor), ...scale(state.b0, state.b1, b, both ? factor : 1)); soon();
}
const move = (dx, dy) => {
  const c = -dx / size.w * (state.c1 - state.c0), b = dy / size.h * (state.b1 - state.b0);
  zoomTo(state.c0 + c, state.c1 + c, state.b0 + b, state.b1 + b); soon();
};
