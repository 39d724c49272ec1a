"use strict";
// Sorting, filtering and the theme. The page is complete without it: every control it
// serves is hidden or disabled until this runs.
(() => {
  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent.trim() : cell.dataset.value;
  };

  // Unknown figures ("") come last in either direction.
  const compare = (left, right, sign) => {
    if (left === "" || right === "") return (left === "") - (right === "");
    const numeric = Number(left) - Number(right);
    return sign * (Number.isNaN(numeric) ? left.localeCompare(right, "en", { numeric: true }) : numeric);
  };

  const sort = (table, heading) => {
    const ascending = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const body = table.tBodies[0];
    const column = heading.cellIndex;
    const rows = [...body.rows].sort((a, b) => compare(key(a, column), key(b, column), ascending ? 1 : -1));
    body.append(...rows);
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    for (const heading of table.tHead.rows[0].cells) {
      const button = heading.querySelector("button");
      button.disabled = false;
      button.addEventListener("click", () => sort(table, heading));
    }
  }

  const wordsOf = (field) => field.value.toLowerCase().split(/\s+/).filter(Boolean);
  const clearOnEscape = (field, filter) =>
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      field.value = "";
      filter();
    });

  for (const label of document.querySelectorAll("label.filter")) {
    const field = label.querySelector("input");
    const rows = [...label.nextElementSibling.querySelectorAll("tbody tr")];
    const filter = () => {
      const words = wordsOf(field);
      for (const row of rows) {
        const content = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => content.includes(word));
      }
      const shown = rows.filter((row) => !row.hidden).length;
      label.querySelector("output").textContent = words.length ? `${shown} of ${rows.length}` : "";
    };
    label.hidden = false;
    field.addEventListener("input", filter);
    clearOnEscape(field, filter);
  }

  const text = document.getElementById("filter");
  const verdict = document.getElementById("verdict");
  const rows = [...document.querySelectorAll("#items tbody tr")];
  const filter = () => {
    const words = wordsOf(text);
    let shown = 0;
    for (const row of rows) {
      const content = [...row.cells].slice(0, 4).map((cell) => cell.textContent).join(" ").toLowerCase();
      const fits = words.every((word) => content.includes(word));
      row.hidden = !fits || (verdict.value !== "" && verdict.value !== row.dataset.outcome);
      document.getElementById(row.dataset.section).hidden = row.hidden;
      shown += row.hidden ? 0 : 1;
    }
    for (const comparison of document.querySelectorAll("section.comparison")) {
      const items = comparison.dataset.items.split(" ");
      comparison.hidden = items.every((item) => document.getElementById(item).hidden);
    }
    document.getElementById("shown").textContent = `${shown} of ${rows.length}`;
  };
  const form = document.getElementById("filters");
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  text.addEventListener("input", filter);
  clearOnEscape(text, filter);
  verdict.addEventListener("change", filter);
  filter();

  const themes = ["auto", "light", "dark"];
  const theme = document.getElementById("theme");
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const next = themes[(themes.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % themes.length];
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    theme.textContent = `Theme: ${next}`;
  });
})();
