// Sorts tables by a click on a heading, and opens figures in a dialog. Without it the page shows the same.
"use strict";

const MISSING = new Set(["", "–", "not run"]);

/** The number or text by which a cell is sorted; null where there is none. */
function sortValue(cell) {
  const text = cell.textContent.trim();
  if (cell.dataset.value) return Number(cell.dataset.value);
  if (MISSING.has(text) || "missing" in cell.dataset) return null;
  const number = Number(text.replace("−", "-").replaceAll(",", ""));
  return Number.isNaN(number) ? text : number;
}

/** Numbers before texts, and what is missing always last. */
function compare(a, b, direction) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return direction * (typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true }));
}

/** Each click takes the next order: ascending, descending, as it was. */
function makeSortable(table) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "Sort";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const next = { ascending: "descending", descending: null }[heading.ariaSort];
      const order = next === undefined ? "ascending" : next;
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      if (order) heading.setAttribute("aria-sort", order);
      const direction = order === "descending" ? -1 : 1;
      const by = (row) => sortValue(row.cells[column]);
      body.append(...(order ? [...original].sort((a, b) => compare(by(a), by(b), direction)) : original));
    });
  });
}

/** A figure's pictures in a dialog, as large as they are. */
function openLarge(event) {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const figure = event.currentTarget.closest("figure");
  const dialog = document.querySelector("dialog");
  dialog.setAttribute("aria-label", figure.querySelector("figcaption").textContent.trim());
  dialog.querySelector("div").replaceChildren(...[...event.currentTarget.children].map((each) => each.cloneNode(true)));
  dialog.showModal();
  dialog.scrollTo(0, 0);
}

for (const table of document.querySelectorAll("main table")) {
  if (table.tBodies[0].rows.length > 1) makeSortable(table);
}
for (const link of document.querySelectorAll(".enlarge")) link.addEventListener("click", openLarge);
document.querySelector("dialog").addEventListener("click", (event) => {
  if (event.target === event.currentTarget) event.currentTarget.close();
});
