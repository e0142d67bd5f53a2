"use strict";
// Tables of class "sortable": a click on a heading sorts by its column, another click the other way round.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const keyOf = (row, place) => row.cells[place].dataset.key;
  const sort = place => {
    const up = heads[place].getAttribute("aria-sort") !== "ascending";
    const rows = [...body.rows];
    const words = rows.some(row => keyOf(row, place) !== "" && isNaN(Number(keyOf(row, place))));
    rows.sort((a, b) => {
      const one = keyOf(a, place), other = keyOf(b, place);
      if (one === "" || other === "") return (one === "") - (other === "");  // missing values last
      const order = words ? one.localeCompare(other) : Number(one) - Number(other);
      return up ? order : -order;
    });
    heads.forEach(head => head.removeAttribute("aria-sort"));
    heads[place].setAttribute("aria-sort", up ? "ascending" : "descending");
    body.append(...rows);
  };
  heads.forEach((head, place) => {
    head.tabIndex = 0;
    head.addEventListener("click", () => sort(place));
    head.addEventListener("keydown", event => { if (event.key === "Enter") sort(place); });
  });
}
