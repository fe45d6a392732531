"use strict";
// Everything that comes from files is set as text, never as HTML.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);

  function element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  // Plots, in the page's colours. Black, in a figure, is the ink.

  const dark = matchMedia("(prefers-color-scheme: dark)");

  function colours() {
    const style = getComputedStyle(document.documentElement);
    const [ink, line] = ["--ink", "--line"].map((name) => style.getPropertyValue(name).trim());
    const axis = { gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true };
    const wall = { ...axis, showbackground: false, color: ink };
    return { ink, layout: { font: { color: ink }, xaxis: axis, yaxis: axis, scene: { xaxis: wall, yaxis: wall, zaxis: wall } } };
  }

  const near = byId("near");

  // Of the front, the picks and the baseline, with some room: a few poor trials would take all of it.
  function range(figure, axis) {
    const kept = figure.data.flatMap((trace) =>
      trace[axis].filter((_, i) => trace.name === "front" || trace.name === "baseline" || trace.text[i]));
    const [low, high] = [Math.min(...kept), Math.max(...kept)];
    return high > low ? { range: [low - 0.3 * (high - low), high + 0.3 * (high - low)] } : {};
  }

  function zoomed(figure, solid) {
    const axes = Object.fromEntries(["x", "y", ...(solid ? ["z"] : [])].map((axis) => [`${axis}axis`, range(figure, axis)]));
    const before = solid ? figure.layout.scene : figure.layout;
    const after = Object.fromEntries(Object.entries(axes).map(([name, found]) => [name, { ...before[name], ...found }]));
    if (solid) return { scene: { ...before, ...after } };
    return after;
  }

  function draw(place) {
    const { ink, layout } = colours();
    const figure = JSON.parse(JSON.stringify(data.figures[place.dataset.figure]), (_, value) => (value === "#000000" ? ink : value));
    const solid = figure.data.some((trace) => trace.type === "scatter3d");
    const look = {
      template: { layout },
      paper_bgcolor: "transparent",
      plot_bgcolor: "transparent",
      legend: { orientation: "h", y: solid ? 0 : -0.25 },
      margin: solid ? { l: 0, r: 0, t: 0, b: 0 } : { l: 50, r: 15, t: 10, b: 50 },
      dragmode: solid ? "orbit" : false,
      hovermode: "closest",
    };
    const zoom = near?.checked && place.closest("#front") ? zoomed(figure, solid) : {};
    return Plotly.react(place, figure.data, { ...figure.layout, ...look, ...zoom }, { displayModeBar: false, responsive: true });
  }

  function begin(place) {
    draw(place).then(() => {
      place.dataset.drawn = "yes";
      place.on("plotly_click", (event) => open(event.points[0].customdata));
    });
  }

  // What is folded away is drawn when it is unfolded.
  for (const place of document.querySelectorAll(".plot")) {
    const fold = place.closest("details");
    if (fold) fold.addEventListener("toggle", () => fold.open && !place.dataset.drawn && begin(place));
    else begin(place);
  }
  dark.addEventListener("change", () => document.querySelectorAll(".plot[data-drawn]").forEach(draw));
  near?.addEventListener("change", () => document.querySelectorAll("#front .plot[data-drawn]").forEach(draw));

  // The viewer: a trial's images beside those without FreeU.

  const viewer = byId("viewer");
  const numbers = Object.keys(data.trials).map(Number);
  let shown = null;

  const GAP = 2; // pixels between a grid's images, as they were drawn
  const COLUMNS = 6;

  // The first so many prompts' images of a trial's grid, on a canvas: both sides show the same ones, at the same size.
  async function tiles(canvas, trial, count, side) {
    const grid = new Image();
    grid.src = trial.image;
    await grid.decode();
    const columns = Math.ceil(Math.sqrt(trial.prompts));
    const rows = Math.ceil(trial.prompts / columns);
    const gap = (GAP * grid.naturalWidth) / trial.width;
    const [width, height] = [(grid.naturalWidth + gap) / columns, (grid.naturalHeight + gap) / rows];
    const across = Math.min(COLUMNS, count);
    const tall = Math.round((side * (height - gap)) / (width - gap));
    canvas.width = across * (side + GAP) - GAP;
    canvas.height = Math.ceil(count / across) * (tall + GAP) - GAP;
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = width > side / 2;
    for (let i = 0; i < count; i++) {
      const from = [(i % columns) * width, Math.floor(i / columns) * height, width - gap, height - gap];
      context.drawImage(grid, ...from, (i % across) * (side + GAP), Math.floor(i / across) * (tall + GAP), side, tall);
    }
    canvas.dataset.drawn = "yes";
  }

  function picture(number, count) {
    const trial = data.trials[number];
    const said = number === data.base ? "baseline" : trial.title;
    const figure = element("figure", {}, element("figcaption", { textContent: said }));
    if (trial.image) {
      const canvas = element("canvas");
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `Images of the first ${count} of the search's prompts: ${said}`);
      figure.append(canvas);
      tiles(canvas, trial, count, count > 12 ? 96 : 160);
    } else {
      figure.append(element("p", { textContent: "No images here: the scores came from the cache, from another study, or the study has more trials than the page shows." }));
    }
    return figure;
  }

  function open(number) {
    const trial = data.trials[number];
    if (!trial) return;
    shown = Number(number);
    byId("viewer-title").textContent = trial.title;
    byId("viewer-rows").replaceChildren(
      ...Object.entries(trial.rows).map(([name, value]) =>
        element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value }))),
    );
    const sides = data.base === null || shown === data.base ? [shown] : [data.base, shown];
    const count = Math.min(...sides.map((each) => data.trials[each].prompts));
    byId("viewer-note").textContent = sides.length > 1 ? `The first ${count} prompts on both sides, in the same places. Differences are to the baseline, ± one standard error.` : "";
    byId("viewer-images").replaceChildren(...sides.map((each) => picture(each, count)));
    byId("before").disabled = shown === numbers[0];
    byId("after").disabled = shown === numbers.at(-1);
    if (!viewer.open) viewer.showModal();
  }

  const step = (by) => open(numbers[numbers.indexOf(shown) + by]);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-trial]");
    if (button) open(button.dataset.trial);
    if (event.target === viewer) viewer.close();
  });
  byId("close").addEventListener("click", () => viewer.close());
  byId("before").addEventListener("click", () => step(-1));
  byId("after").addEventListener("click", () => step(1));
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });

  // Tables that sort by the column whose title is pressed. Cells that are empty come last, either way.

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

  // Tables to take along.

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
    const rows = data.tables[button.dataset.table];
    const [text, type] = button.dataset.as === "csv" ? [csv(rows), "text/csv"] : [JSON.stringify(rows, null, 1), "application/json"];
    const link = element("a", { href: URL.createObjectURL(new Blob([text], { type })), download: `${button.dataset.table}.${button.dataset.as}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });

  // Prompt by prompt: without FreeU, the pick, the difference.

  if (!data.pairs) return;
  const { directions, rows, images } = data.pairs;
  const picks = new Map(data.pairs.picks);
  const pick = byId("pick");
  const order = byId("order");
  pick.append(...[...picks].map(([number, name]) => new Option(name, number)));
  pick.value = data.pairs.pick;
  for (const name of Object.keys(directions)) {
    order.append(new Option(`${name}: greatest loss first`, `loss ${name}`), new Option(`${name}: greatest gain first`, `gain ${name}`));
  }
  order.append(new Option("as in the prompt set", ""));

  const signed = (x) => (x > 0 ? "+" : x < 0 ? "−" : "±") + Math.abs(Number(x.toPrecision(3)));
  const difference = (row, name) => row.scores[pick.value][name] - row.scores.base[name];
  const gain = (row, name) => difference(row, name) * (directions[name] === "up" ? 1 : -1);

  function text(prompt) {
    const inside = element("bdi", { textContent: prompt });
    if (prompt.length <= 300) return element("p", { className: "prompt" }, inside);
    const head = element("summary", {}, element("bdi", { textContent: prompt.slice(0, 200) + "…" }));
    return element("details", { className: "prompt" }, head, inside);
  }

  function image(source, alt) {
    const made = element("img", { src: source, alt });
    made.addEventListener("load", () => (made.closest(".triple") ?? made).classList.toggle("small", made.naturalWidth < 128));
    return made;
  }

  function triple(row) {
    const sides = [["base", "baseline"], [pick.value, picks.get(pick.value)]];
    const sources = sides.map(([key]) => images[`${key}/${row.row}`]);
    if (!sources.every(Boolean)) return element("p", { className: "note", textContent: "Its images were not kept." });
    const told = row.prompt.slice(0, 200);
    const made = sides.map(([, name]) =>
      element("figure", {}, element("span"), element("figcaption", { textContent: name })));
    const both = element("div", { className: "difference" }, image(sources[0], ""));  // which gives it its size
    both.style.backgroundImage = sources.map((source) => `url("${source}")`).join();
    both.setAttribute("role", "img");
    both.setAttribute("aria-label", `Difference of the two, brightened: ${told}`);
    for (const each of made) {
      const button = element("button", { type: "button", className: "enlarge" });
      button.dataset.enlarge = row.row;
      button.setAttribute("aria-label", `Enlarge: ${told}`);
      each.firstChild.replaceWith(button);
      button.append(image(sources[made.indexOf(each)], ""));
    }
    return element("div", { className: "triple" }, ...made, element("figure", {}, both, element("figcaption", { textContent: "difference ×4" })));
  }

  const FIRST = 8; // cards, before all are asked for
  let whole = false;

  function scores(row) {
    return Object.keys(directions).map((name) => {
      const [from, to] = ["base", pick.value].map((key) => Number(row.scores[key][name].toPrecision(4)));
      const by = from === to ? 0 : gain(row, name);
      const [kind, said] = by > 0 ? ["better", "better"] : by < 0 ? ["worse", "worse"] : ["", "the same"];
      const line = element("p", { textContent: `${name} ${from} → ${to}: ` });
      line.append(element("span", { className: kind, textContent: `${signed(difference(row, name))}, ${said}` }));
      return line;
    });
  }

  function list() {
    const [way, name] = order.value ? [order.value.slice(0, 4), order.value.slice(5)] : ["", Object.keys(directions)[0]];
    const sorted = way ? [...rows].sort((a, b) => (way === "loss" ? 1 : -1) * (gain(a, name) - gain(b, name))) : rows;
    order.sorted = sorted;
    byId("all").hidden = whole || sorted.length <= FIRST;
    byId("all").textContent = `Show all ${sorted.length}`;
    byId("rows").replaceChildren(...sorted.slice(0, whole ? sorted.length : FIRST).map((row) => {
      const origin = (row.category ? row.category + ", " : "") + "seed " + row.seed;
      return element("li", {}, text(row.prompt), element("p", { className: "note", textContent: origin }), triple(row), ...scores(row));
    }));
    const count = (test) => rows.filter((row) => test(gain(row, name))).length;
    byId("tally").textContent = name === undefined ? `${rows.length} prompts`
      : `${rows.length} prompts. In ${name} ${count((x) => x < 0)} are worse with this pick, ${count((x) => x > 0)} better.`;
  }

  function four() {
    const places = new Map(rows.map((row) => [row.row, row]));
    byId("best").replaceChildren(...data.pairs.four[pick.value].filter(([row]) => images[`base/${row}`] && images[`${pick.value}/${row}`]).map(([number, what]) => {
      const row = places.get(number);
      const pair = element("button", { type: "button", className: "pair" });
      pair.dataset.enlarge = number;
      pair.append(...[["base", "baseline"], [pick.value, picks.get(pick.value)]].map(([key, name]) =>
        element("span", {}, image(images[`${key}/${number}`], `${name}: ${row.prompt.slice(0, 200)}`), name)));
      return element("li", {}, element("p", {}, element("strong", { textContent: `${what[0].toUpperCase()}${what.slice(1)}` })), text(row.prompt), pair, ...scores(row));
    }));
  }

  function changed() {
    list();
    four();
  }

  pick.addEventListener("change", changed);
  order.addEventListener("change", list);
  byId("all").addEventListener("click", () => { whole = true; list(); });
  changed();

  lightbox({ data, element, picks, directions, signed, difference, chosen: () => pick.value, listed: () => order.sorted });
})();
