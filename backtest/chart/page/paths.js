"use strict";
// A chart of one price path at a time, from the JSON of id "paths": the rows of tables choose which by their name.
const PATHS = JSON.parse(document.getElementById("paths").textContent);
const box = document.getElementById("chart");
const WIDE = Math.max(320, Math.min(960, box.clientWidth)), NARROW = WIDE < 600;
const HIGH = NARROW ? 300 : 360, LEFT = 62, RIGHT = NARROW ? 70 : 130, TOP = 14, BOTTOM = 30;
const text = (value, digits) => value.toLocaleString("en-GB", { maximumSignificantDigits: digits });
const clock = ms => new Date(ms).toISOString().slice(0, 16).replace("T", " ");
const add = (parent, name, attributes, content) => {
  const one = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
  if (content !== undefined) one.textContent = content;
  parent.append(one);
  return one;
};

function show(name) {
  const path = PATHS[name];
  if (!path) return;
  for (const row of document.querySelectorAll("tr[data-name]")) row.classList.toggle("chosen", row.dataset.name === name);
  box.replaceChildren();
  const title = document.createElement("p"), reading = document.createElement("p");
  title.className = "title"; title.textContent = path.title; reading.className = "reading";
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDE} ${HIGH}`); svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", path.title);
  box.append(title, reading, svg);
  const at = path.low.map((_, i) => path.start + i * path.step);
  const end = path.start + path.low.length * path.step;
  const marks = [["entry", path.entry, "#1B1F24"], ["liquidation", path.liquidation, "#C0392B"], ["exit", path.exit, "#5B6470"]]
    .filter(mark => mark[1] !== null);
  let low = Math.min(...path.low), high = Math.max(...path.high);
  const spread = high - low || high * 0.01;
  for (const [, price] of marks) if (price > low - 1.5 * spread && price < high + 1.5 * spread) {
    low = Math.min(low, price); high = Math.max(high, price);
  }
  const pad = (high - low) * 0.05 || 1; low -= pad; high += pad;
  const x = time => LEFT + (time - path.start) / (end - path.start) * (WIDE - LEFT - RIGHT);
  const y = price => TOP + (high - price) / (high - low) * (HIGH - TOP - BOTTOM);
  for (let i = 0; i <= 4; i++) {
    const price = low + (high - low) * i / 4;
    add(svg, "line", { x1: LEFT, x2: WIDE - RIGHT, y1: y(price), y2: y(price), stroke: "#E3E6EA" });
    add(svg, "text", { x: LEFT - 8, y: y(price) + 4, "text-anchor": "end", "font-size": 12, fill: "#5B6470" }, text(price, 6));
  }
  const ticks = NARROW ? 1 : 3;
  for (let i = 0; i <= ticks; i++) {
    const time = path.start + (end - path.start) * i / ticks, anchor = i === 0 ? "start" : i === ticks ? "end" : "middle";
    add(svg, "text", { x: x(time), y: HIGH - 8, "text-anchor": anchor, "font-size": 12, fill: "#5B6470" }, clock(time));
  }
  const there = at.map((time, i) => `${x(time)},${y(path.high[i])}`);
  const back = at.map((time, i) => `${x(time)},${y(path.low[i])}`).reverse();
  add(svg, "polygon", { points: [...there, ...back].join(" "), fill: "#9DB9DC", stroke: "#2468B4", "stroke-width": 0.8 });
  const taken = [];
  for (const [word, price, colour] of marks) {
    if (price < low || price > high) continue;
    const inside = word === "exit" ? { x1: x(path.closed ?? end) - 6, x2: WIDE - RIGHT } : { x1: LEFT, x2: WIDE - RIGHT };
    add(svg, "line", { ...inside, y1: y(price), y2: y(price), stroke: colour, "stroke-dasharray": word === "entry" ? "2 3" : "6 3" });
    let place = y(price) + 4;
    while (taken.some(other => Math.abs(other - place) < 13)) place += 13;
    taken.push(place);
    add(svg, "text", { x: WIDE - RIGHT + 6, y: place, "font-size": 12, fill: colour }, NARROW ? word : `${word} ${text(price, 6)}`);
  }
  for (const [time, colour] of [[path.opened, "#1B1F24"], [path.closed, "#5B6470"], [path.gone, "#C0392B"]]) {
    if (time !== null && time >= path.start && time <= end)
      add(svg, "line", { x1: x(time), x2: x(time), y1: TOP, y2: HIGH - BOTTOM, stroke: colour, "stroke-width": 1.2, opacity: 0.7 });
  }
  const hair = add(svg, "line", { y1: TOP, y2: HIGH - BOTTOM, stroke: "#1B1F24", "stroke-width": 0.7, visibility: "hidden" });
  svg.addEventListener("pointermove", event => {
    const rect = svg.getBoundingClientRect();
    const time = path.start + ((event.clientX - rect.left) / rect.width * WIDE - LEFT) / (WIDE - LEFT - RIGHT) * (end - path.start);
    const i = Math.max(0, Math.min(path.low.length - 1, Math.floor((time - path.start) / path.step)));
    hair.setAttribute("x1", x(at[i])); hair.setAttribute("x2", x(at[i])); hair.setAttribute("visibility", "visible");
    reading.textContent = `${clock(at[i])} UTC   low ${text(path.low[i], 7)}   high ${text(path.high[i], 7)}`;
  });
  svg.addEventListener("pointerleave", () => { hair.setAttribute("visibility", "hidden"); reading.textContent = path.note; });
  reading.textContent = path.note;
}

for (const row of document.querySelectorAll("tr[data-name]")) {
  row.addEventListener("click", () => show(row.dataset.name));
  row.addEventListener("keydown", event => { if (event.key === "Enter") show(row.dataset.name); });
}
const first = document.querySelector("tr[data-name]");
if (first) show(first.dataset.name);
