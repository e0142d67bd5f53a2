"use strict";
// Moves about in the page of a heatmap, and writes down what it found.
(async () => {
  const wait = () => new Promise(done => setTimeout(done, 30));
  while (document.body.dataset.ready !== "yes") await wait();
  const map = document.getElementById("map"), rect = map.getBoundingClientRect();
  const point = (type, px, py, more = {}) => map.dispatchEvent(new PointerEvent(type, {
    clientX: rect.left + px, clientY: rect.top + py, pointerId: 1, bubbles: true, ...more }));
  const found = { hovers: [], columns: levels.state.c1 - levels.state.c0 };
  for (let i = 0; i < 10; i++) {
    const px = rect.width * (0.07 + 0.09 * i), py = rect.height * (0.93 - 0.085 * i);
    point("pointermove", px, py);
    found.hovers.push(levels.cell(px, py));
  }
  found.reading = document.getElementById("reading").textContent;
  found.ticks = levels.ticks().map(tick => ({ ...tick, column: levels.columnOf(tick.ms) }));
  found.cumulative = levels.cumulative(levels.state.c1 - 1, Math.floor(levels.state.b1 / 2));
  found.options = [...document.querySelectorAll("#zone option")].map(each => each.value);
  const sum = () => levels.sum(), click = async name => { document.querySelector(`input[name="${name}"]`).click(); await wait(); };
  found.whole = sum();
  await click("Longs"); found.without_longs = sum(); await click("Longs");
  await click("below 10x"); found.without_lowest = sum(); await click("below 10x");
  map.dispatchEvent(new WheelEvent("wheel", { clientX: rect.left + 50, clientY: rect.top + 50, deltaY: -1, bubbles: true, cancelable: true }));
  for (let i = 0; i < 200 && !location.hash; i++) await wait();  // the address follows once the view rests
  found.zoomed = levels.state.c1 - levels.state.c0;
  found.hash = location.hash;
  map.dispatchEvent(new MouseEvent("dblclick", { bubbles: true }));
  await wait();
  found.home = levels.state.c1 - levels.state.c0;
  const rows = document.querySelectorAll("tr[data-name]");
  if (rows.length) rows[0].click();
  await wait();
  found.rows = rows.length;
  found.failures = failures;
  const pre = document.createElement("pre");
  pre.id = "found"; pre.textContent = JSON.stringify(found);
  document.body.append(pre);
})();
