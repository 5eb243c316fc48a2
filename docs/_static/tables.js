// Tables of figures: a click on a heading sorts by it, a box above the first table leaves the rows that hold a word.
// Without this script they are plain tables.
(() => {
  "use strict";

  // The first number of a cell, as in "+1.2 ± 1.4" or "≈ 1.14"; undefined where there is none.
  const number = (text) => {
    const found = text.replace(/−/g, "-").replace(/(\d),(?=\d{3})/g, "$1").match(/[-+]?\d+(\.\d+)?/);
    return found ? parseFloat(found[0]) : undefined;
  };

  const textOf = (row, column) => (row.cells[column] ? row.cells[column].textContent.trim() : "");

  const compare = (column) => (a, b) => {
    const [first, second] = [textOf(a, column), textOf(b, column)];
    if (!first || !second) return first ? -1 : second ? 1 : 0; // empty cells last
    const [one, other] = [number(first), number(second)];
    if (one !== undefined && other !== undefined && /^[-+−≈\d.]/.test(first)) return one - other;
    return first.localeCompare(second);
  };

  function makeSortable(table) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.title = "Sort by this column";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const next = { none: "descending", descending: "ascending", ascending: "none" };
        const order = next[head.getAttribute("aria-sort") || "none"];
        heads.forEach((each) => each.removeAttribute("aria-sort"));
        let sorted = rows;
        if (order !== "none") {
          head.setAttribute("aria-sort", order);
          const filled = rows.filter((row) => textOf(row, column)).sort(compare(column));
          if (order === "descending") filled.reverse();
          sorted = [...filled, ...rows.filter((row) => !textOf(row, column))];
        }
        body.append(...sorted);
      });
    });
  }

  function makeFilter(tables) {
    const label = document.createElement("label");
    label.className = "table-filter";
    label.append("Rows with ");
    const box = document.createElement("input");
    box.type = "search";
    box.placeholder = [...tables[0].tBodies[0].rows].slice(0, 2).map((row) => textOf(row, 0)).join(", ");
    const said = document.createElement("output");
    const hint = "a click on a heading sorts by it";
    said.textContent = hint;
    label.append(box, said);
    const first = tables[0].closest(".pst-scrollable-table-container") || tables[0];
    const section = first.closest("section");
    const title = section.querySelector(":scope > h1");
    if (title) first.before(label);
    else section.before(label);
    box.addEventListener("input", () => {
      const words = box.value.toLowerCase().split(/[,\s]+/).filter(Boolean);
      let [shown, all] = [0, 0];
      for (const table of tables) {
        const rows = [...table.tBodies[0].rows];
        const fits = rows.map((row) => words.some((word) => row.textContent.toLowerCase().includes(word)));
        const any = fits.some(Boolean); // a table without the word stays whole
        rows.forEach((row, place) => {
          row.hidden = words.length > 0 && any && !fits[place];
          shown += !row.hidden;
        });
        all += rows.length;
      }
      said.textContent = words.length ? `${shown} of ${all} rows` : hint;
    });
  }

  document.addEventListener("DOMContentLoaded", () => {
    const tables = [...document.querySelectorAll("article table")].filter(
      (table) => table.tHead && table.tBodies.length && table.tBodies[0].rows.length > 2
    );
    tables.forEach(makeSortable);
    if (tables.length) makeFilter(tables);
  });
})();
