"use strict";
// Pairs of images, as search/reporting/pair_cards.py has them: the four that tell most, then prompt by prompt.
function pairs(shown) {
  const { directions, rows, images, labels } = shown;
  const pairings = new Map(shown.pairings.map((each) => [each.key, each]));
  const pick = byId("pick");
  const order = byId("order");
  pick.append(...shown.pairings.map(({ key, name }) => new Option(name, key)));
  pick.value = shown.opened;
  for (const name of Object.keys(directions)) {
    order.append(new Option(`${name}: greatest loss first`, `loss ${name}`), new Option(`${name}: greatest gain first`, `gain ${name}`));
  }
  order.append(new Option("as in the prompt set", ""));

  // The two sides that are compared now: the names of their images, and what they are.
  const sides = () => ["left", "right"].map((side) => pairings.get(pick.value)[side]);
  const sources = (row) => sides().map((side) => images[`${side}/${row}`]);
  const signed = (x) => (x > 0 ? "+" : x < 0 ? "−" : "±") + Math.abs(Number(x.toPrecision(3)));

  function difference(row, name) {
    const [from, to] = sides().map((side) => row.scores[side][name]);
    return to - from;
  }

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
    const two = sources(row.row);
    if (!two.every(Boolean)) return element("p", { className: "note", textContent: "Its images were not kept." });
    const told = row.prompt.slice(0, 200);
    const made = sides().map((side) =>
      element("figure", {}, element("span"), element("figcaption", { textContent: labels[side] })));
    const both = element("div", { className: "difference" }, image(two[0], ""));  // which gives it its size
    both.style.backgroundImage = two.map((source) => `url("${source}")`).join();
    both.setAttribute("role", "img");
    both.setAttribute("aria-label", `Difference of the two, brightened: ${told}`);
    made.forEach((each, place) => {
      const button = element("button", { type: "button", className: "enlarge" });
      button.dataset.enlarge = row.row;
      button.setAttribute("aria-label", `Enlarge: ${told}`);
      each.firstChild.replaceWith(button);
      button.append(image(two[place], ""));
    });
    return element("div", { className: "triple" }, ...made, element("figure", {}, both, element("figcaption", { textContent: "difference ×4" })));
  }

  const FIRST = 8; // cards, before all are asked for
  let whole = false;

  function scores(row) {
    return Object.keys(directions).map((name) => {
      const [from, to] = sides().map((side) => Number(row.scores[side][name].toPrecision(4)));
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
      const origin = (row.category ? row.category + ", " : "") + (row.seeds.length > 1 ? "seeds " : "seed ") + row.seeds.join(" and ");
      return element("li", {}, text(row.prompt), element("p", { className: "note", textContent: origin }), triple(row), ...scores(row));
    }));
    const count = (test) => rows.filter((row) => test(gain(row, name))).length;
    const said = labels[sides()[1]];
    byId("tally").textContent = name === undefined ? `${rows.length} pairs`
      : `${rows.length} pairs. In ${name} ${count((x) => x < 0)} are worse with ${said}, ${count((x) => x > 0)} better.`;
  }

  function four() {
    const places = new Map(rows.map((row) => [row.row, row]));
    byId("best").replaceChildren(...shown.four[pick.value].filter(([row]) => sources(row).every(Boolean)).map(([number, what]) => {
      const row = places.get(number);
      const pair = element("button", { type: "button", className: "pair" });
      pair.dataset.enlarge = number;
      pair.append(...sides().map((side) =>
        element("span", {}, image(images[`${side}/${number}`], `${labels[side]}: ${row.prompt.slice(0, 200)}`), labels[side])));
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

  lightbox({
    images, files: shown.files, rows, labels, sides, signed, difference, objectives: Object.keys(directions),
    four: () => shown.four[pick.value].map(([row]) => row), listed: () => order.sorted.map((row) => row.row),
  });
}
