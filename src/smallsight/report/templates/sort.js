"use strict";
// Tables: a click on a column's head sorts by that column, another click reverses the order.
for (const head of document.querySelectorAll("table.sortable th button")) {
  head.addEventListener("click", () => {
    const cell = head.closest("th");
    const table = cell.closest("table");
    const column = Array.from(cell.parentNode.children).indexOf(cell);
    const falling = cell.getAttribute("aria-sort") === "ascending";
    const key = (row) => {
      const text = row.children[column].dataset.value ?? row.children[column].textContent.trim();
      return text === "" ? null : Number.isNaN(Number(text)) ? text : Number(text);
    };
    const compare = (a, b) => {
      if (a === null || b === null) return (a === null) - (b === null);
      const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
      return falling ? -order : order;
    };
    const body = table.tBodies[0];
    body.append(...Array.from(body.rows).sort((a, b) => compare(key(a), key(b))));
    for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
    cell.setAttribute("aria-sort", falling ? "descending" : "ascending");
  });
}
