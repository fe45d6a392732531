"use strict";
// Plots, and the images of single trials.
(() => {
  const data = JSON.parse(byId("data").textContent);

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
    byId("viewer-before").disabled = shown === numbers[0];
    byId("viewer-after").disabled = shown === numbers.at(-1);
    if (!viewer.open) viewer.showModal();
  }

  const step = (by) => open(numbers[numbers.indexOf(shown) + by]);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-trial]");
    if (button) open(button.dataset.trial);
    if (event.target === viewer) viewer.close();
  });
  byId("viewer-close").addEventListener("click", () => viewer.close());
  byId("viewer-before").addEventListener("click", () => step(-1));
  byId("viewer-after").addEventListener("click", () => step(1));
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });

  tables(data.tables);
  if (data.pairs) pairs(data.pairs);
})();
