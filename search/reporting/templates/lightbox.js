"use strict";
// One pair as large as the window: side by side, under a slider, flickering, as a difference, down to the pixel.
function lightbox({ images, files, rows, labels, sides, signed, difference, objectives, four, listed }) {
  const box = byId("lightbox");
  const stage = byId("lightbox-stage");
  let at = null; // the row's number
  let order = []; // of rows, as ← and → go

  function look(how) {
    if (how === "flicker") stage.dataset.shown = stage.dataset.look === "flicker" && stage.dataset.shown === "base" ? "pick" : "base";
    stage.dataset.look = how;
    byId("cut-label").hidden = how !== "slider";
    for (const button of box.querySelectorAll("[data-look]:not(.stage)")) button.setAttribute("aria-pressed", String(button.dataset.look === how));
  }

  function zoom(on) {
    const image = byId("lightbox-base");
    const fit = Math.min(image.clientWidth / image.naturalWidth, image.clientHeight / image.naturalHeight) || 1;
    stage.style.setProperty("--scale", String(Math.max(4, 2 / fit))); // a pixel takes two, at least
    stage.classList.toggle("zoom", on);
    byId("pixels").setAttribute("aria-pressed", String(on));
  }

  async function show(number) {
    at = number;
    const row = rows.find((each) => each.row === number);
    byId("lightbox-title").replaceChildren(element("bdi", { textContent: row.prompt.slice(0, 500) }));
    byId("lightbox-scores").textContent = objectives.map((each) => `${each} ${signed(difference(row, each))}`).join(", ");
    const keys = sides();
    const linked = keys.filter((key) => files[`${key}/${number}`]);
    byId("lightbox-files").replaceChildren(...linked.flatMap((key, place) =>
      [place ? ", " : "Full size: ", element("a", { href: files[`${key}/${number}`], target: "_blank", rel: "noopener", textContent: labels[key] })]));
    ["base", "pick"].forEach((side, place) => {
      const image = byId(`lightbox-${side}`);
      image.src = images[`${keys[place]}/${number}`];
      image.alt = `${labels[keys[place]]}: ${row.prompt.slice(0, 200)}`;
      image.nextElementSibling.textContent = labels[keys[place]];
    });
    const place = order.indexOf(number);
    byId("lightbox-before").disabled = place <= 0;
    byId("lightbox-after").disabled = place === order.length - 1;
    if (!box.open) {
      look("side");
      box.showModal();
    }
    await byId("lightbox-base").decode().catch(() => {});
    stage.classList.toggle("pixelated", byId("lightbox-base").naturalWidth < byId("lightbox-base").clientWidth / 2);
    zoom(stage.classList.contains("zoom"));
  }

  function step(by) {
    const next = order[order.indexOf(at) + by];
    if (next !== undefined) show(next);
  }

  function pan(event) {
    const figure = event.target.closest("figure");
    if (!figure) return;
    const frame = figure.getBoundingClientRect();
    const [x, y] = [(100 * (event.clientX - frame.left)) / frame.width, (100 * (event.clientY - frame.top)) / frame.height];
    if (stage.classList.contains("zoom")) {
      stage.style.setProperty("--x", `${x}%`);
      stage.style.setProperty("--y", `${y}%`);
    } else if (stage.dataset.look === "slider") cut(x);
  }

  function cut(percent) {
    stage.style.setProperty("--cut", `${percent}%`);
    byId("cut").value = percent;
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-enlarge]");
    if (button) {
      const offered = button.closest("#best") ? four() : listed();
      order = offered.filter((row) => sides().every((side) => images[`${side}/${row}`]));
      zoom(false);
      show(Number(button.dataset.enlarge));
    }
    if (event.target === box) box.close();
  });
  for (const button of box.querySelectorAll("[data-look]:not(.stage)")) button.addEventListener("click", () => look(button.dataset.look));
  byId("pixels").addEventListener("click", () => zoom(!stage.classList.contains("zoom")));
  byId("lightbox-close").addEventListener("click", () => box.close());
  byId("lightbox-before").addEventListener("click", () => step(-1));
  byId("lightbox-after").addEventListener("click", () => step(1));
  byId("cut").addEventListener("input", () => cut(byId("cut").value));
  stage.addEventListener("pointermove", pan);
  stage.addEventListener("pointerdown", pan);

  const keys = {
    ArrowLeft: () => step(-1), ArrowRight: () => step(1), 1: () => look("side"), 2: () => look("slider"), " ": () => look("flicker"),
    3: () => look("flicker"), d: () => look("difference"), 4: () => look("difference"), z: () => zoom(!stage.classList.contains("zoom")),
  };
  box.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    if (event.target.id === "cut" && event.key.startsWith("Arrow")) return;
    event.preventDefault(); // a button in focus would take the space
    keys[event.key]();
  });
  box.addEventListener("keyup", (event) => event.key === " " && event.preventDefault());
}
