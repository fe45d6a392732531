"use strict";
// Tables that sort by the column whose title is pressed (empty cells come last, either way), and that can be taken along.
// contents: name of a file → its rows.
function tables(contents) {
  function value(row, column) {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    return text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
  }

  function compared(a, b, way) {
    if (a === "" || b === "") return (a === "") - (b === "");
    if (typeof a === "number" && typeof b === "number") return way * (a - b);
    return way * String(a).localeCompare(String(b));
  }

  for (const table of document.querySelectorAll(".sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows];
      table.tBodies[0].append(...rows.sort((a, b) => compared(value(a, column), value(b, column), up ? 1 : -1)));
    }));
  }

  function csv(rows) {
    const cell = (value) => {
      if (value === null || value === undefined) return "";
      const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value); // no formula
      return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
    return [names, ...rows.map((row) => names.map((name) => row[name]))].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-table]");
    if (!button) return;
    const rows = contents[button.dataset.table];
    const [text, type] = button.dataset.as === "csv" ? [csv(rows), "text/csv"] : [JSON.stringify(rows, null, 1), "application/json"];
    const link = element("a", { href: URL.createObjectURL(new Blob([text], { type })), download: `${button.dataset.table}.${button.dataset.as}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}
