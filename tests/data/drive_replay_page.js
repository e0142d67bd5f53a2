"use strict";
// Moves about in the page of a replay, and writes down what it found.
(async () => {
  const wait = () => new Promise(done => setTimeout(done, 30));
  while (document.body.dataset.ready !== "yes") await wait();
  const box = document.getElementById("panels"), rect = box.getBoundingClientRect();
  const found = { hovers: [], columns: series.state.c1 - series.state.c0, readings: [] };
  for (let i = 0; i < 10; i++) {
    const px = 70 + (rect.width - 90) * i / 10;
    box.dispatchEvent(new PointerEvent("pointermove", { clientX: rect.left + px, clientY: rect.top + 50, pointerId: 1, bubbles: true }));
    found.hovers.push(series.at(px));
    found.readings.push(document.getElementById("reading").textContent);
  }
  found.ticks = series.ticks().map(tick => ({ ...tick, column: series.columnOf(tick.ms) }));
  found.names = [...document.querySelectorAll("#filters input")].map(each => each.name);
  document.querySelector("#filters input").click(); await wait();
  found.without = document.getElementById("reading").textContent;
  box.dispatchEvent(new WheelEvent("wheel", { clientX: rect.left + 200, clientY: rect.top + 50, deltaY: -1, bubbles: true, cancelable: true }));
  for (let i = 0; i < 200 && !location.hash; i++) await wait();
  found.zoomed = series.state.c1 - series.state.c0; found.hash = location.hash;
  box.dispatchEvent(new MouseEvent("dblclick", { bubbles: true })); await wait();
  found.home = series.state.c1 - series.state.c0;
  found.rows = document.querySelectorAll("tbody tr").length;
  found.failures = failures;
  const pre = document.createElement("pre");
  pre.id = "found"; pre.textContent = JSON.stringify(found);
  document.body.append(pre);
})();
