"use strict";
// Everything here is a convenience: without it the page says the same.
(() => {
  const root = document.documentElement;
  const tip = document.getElementById("tip");

  // Theme: the system's, unless the button or the address (#dark, #light) says otherwise.
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const name = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  const fromAddress = () => {
    const word = location.hash.slice(1);
    if (word === "dark" || word === "light") root.dataset.theme = word;
    name();
  };
  button.hidden = false;
  button.setAttribute("aria-label", "Switch between light and dark");
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    name();
  });
  system.addEventListener("change", name);
  addEventListener("hashchange", fromAddress);
  fromAddress();

  const hide = () => { tip.hidden = true; };
  const show = (event, lines) => {
    tip.replaceChildren(...lines.map((line) => {
      const row = document.createElement("div");
      row.textContent = line;
      return row;
    }));
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const x = Math.min(event.clientX + 14, innerWidth - box.width - 8);
    const below = event.clientY + 18;
    const y = below + box.height > innerHeight ? event.clientY - box.height - 12 : below;
    tip.style.left = Math.max(8, x) + "px";
    tip.style.top = y + "px";
  };
  const place = (svg, event) =>
    new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());

  // Curves: the values of the epoch nearest to the pointer.
  for (const svg of document.querySelectorAll("svg.curves")) {
    const curves = [...svg.querySelectorAll("path[data-x]")].map((path) => ({
      name: path.dataset.name,
      x: path.dataset.x.split(" "),
      y: path.dataset.y.split(" "),
      pixels: path.getAttribute("d").match(/-?[\d.]+/g).map(Number),
    }));
    if (!curves.length) continue;
    const cursor = document.createElementNS(svg.namespaceURI, "line");
    const rules = [...svg.querySelectorAll(".rule")].map((rule) => rule.y1.baseVal.value);
    cursor.setAttribute("class", "cursor");
    cursor.setAttribute("y1", Math.min(...rules));
    cursor.setAttribute("y2", Math.max(...rules));
    cursor.style.display = "none";
    svg.append(cursor);
    svg.addEventListener("pointermove", (event) => {
      const at = place(svg, event).x;
      let best = null;
      for (const curve of curves) {
        for (let i = 0; i < curve.x.length; i++) {
          const distance = Math.abs(curve.pixels[2 * i] - at);
          if (!best || distance < best.distance) best = { distance, x: curve.x[i], pixel: curve.pixels[2 * i] };
        }
      }
      const lines = ["epoch " + best.x];
      for (const curve of curves) {
        const i = curve.x.indexOf(best.x);
        if (i >= 0) lines.push(curve.name + "  " + curve.y[i]);
      }
      cursor.setAttribute("x1", best.pixel);
      cursor.setAttribute("x2", best.pixel);
      cursor.style.display = "";
      show(event, lines);
    });
    svg.addEventListener("pointerleave", () => { cursor.style.display = "none"; hide(); });
  }

  // Boxes of the network and cells of a small confusion matrix carry their own text.
  for (const item of document.querySelectorAll("[data-tip]")) {
    item.addEventListener("pointermove", (event) => show(event, [item.dataset.tip]));
    item.addEventListener("pointerleave", hide);
  }

  // Cells of a large confusion matrix are found by their place.
  for (const group of document.querySelectorAll("[data-cells]")) {
    const svg = group.ownerSVGElement;
    const counts = new Map(group.dataset.cells.split(";").map((cell) => {
      const [t, p, n] = cell.split(",");
      return [t + "," + p, n];
    }));
    const names = [...svg.querySelectorAll(".names .row")].map(
      (row) => (row.querySelector("title") || row).textContent);
    const [left, top, side] = group.dataset.place.split(" ").map(Number);
    svg.addEventListener("pointermove", (event) => {
      const at = place(svg, event);
      const t = Math.floor((at.y - top) / side);
      const p = Math.floor((at.x - left) / side);
      if (!(names[t] !== undefined && names[p] !== undefined)) { hide(); return; }
      show(event, [names[t] + " taken for " + names[p] + ": " + (counts.get(t + "," + p) || 0)]);
    });
    svg.addEventListener("pointerleave", hide);
  }

  // Mistakes: only those of one true or one predicted class.
  const filter = document.getElementById("filter");
  if (filter) {
    const items = [...document.querySelectorAll(".mistake")];
    const selects = [...filter.querySelectorAll("select")];
    for (const select of selects) {
      const words = [...new Set(items.map((item) => item.dataset[select.name]))];
      words.sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
      for (const word of words) select.append(new Option(word, "=" + word));
    }
    const apply = () => {
      let count = 0;
      for (const item of items) {
        const fits = (s) => !s.value || s.value === "=" + item.dataset[s.name];
        item.hidden = !selects.every(fits);
        count += item.hidden ? 0 : 1;
      }
      filter.querySelector("output").textContent = count + " of " + items.length;
    };
    filter.addEventListener("change", apply);
    filter.addEventListener("submit", (event) => event.preventDefault());
    filter.hidden = items.length < 2;
    apply();
  }

  // Tables of many rows: a click on a column's head sorts by it.
  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const control = document.createElement("button");
      control.type = "button";
      control.textContent = head.textContent;
      head.replaceChildren(control);
      control.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const rows = [...body.rows];
        const text = (row) => row.cells[column].textContent.trim().replaceAll(",", "");
        rows.sort((a, b) => text(a).localeCompare(text(b), undefined, { numeric: true }));
        body.append(...(up ? rows : rows.reverse()));
      });
    });
  }
})();
