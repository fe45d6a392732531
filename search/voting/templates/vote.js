"use strict";
// Everything that comes from the study is set as text, never as HTML. The server knows what was voted: this page may be
// loaded again at any time, and a vote that is sent twice counts once.
(() => {
  const byId = (id) => document.getElementById(id);
  const main = ["start", "vote", "pause", "result"];
  const stage = byId("stage");
  const sides = ["left", "right"];
  let voter = new URLSearchParams(location.search).get("as") ?? "";
  let state = null;
  let more = false;
  let busy = true; // no pair can be judged: none is there, or a vote is on its way
  let since = 0;
  let last = null; // the token of the latest vote from this page
  let hidden = localStorage.getItem("freeu-vote-prompt") === "hidden";

  function show(id) {
    for (const each of main) byId(each).hidden = each !== id;
  }

  function element(tag, text) {
    return Object.assign(document.createElement(tag), { textContent: text });
  }

  function row(...cells) {
    const made = document.createElement("tr");
    made.append(...cells.map((text) => element("td", text)));
    return made;
  }

  async function asked(path, body) {
    const sent = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ as: voter, more, ...body }) };
    const answer = await fetch(path, sent);
    const told = await answer.json();
    if (!answer.ok) throw Object.assign(new Error(told.error), { told: true });
    return told;
  }

  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

  // Send until the server answers: what it has, it has once.
  async function sent(path, body) {
    busy = true;
    stage.classList.add("waiting");
    for (;;) {
      try {
        const told = await asked(path, body);
        byId("trouble").textContent = "";
        return told;
      } catch (error) {
        byId("trouble").textContent = error.told ? error.message : "The server does not answer: not saved yet, trying again …";
        if (error.told) return asked(`/state?as=${encodeURIComponent(voter)}${more ? "&more" : ""}`);
        await wait(1000);
      }
    }
  }

  const plural = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;

  function begin(found) {
    document.title = `Vote: ${found.study}`;
    const each = found.comparisons > 1 ? ` for each of ${found.comparisons} comparisons` : "";
    byId("plan").textContent = `Study ${found.study}: ${plural(found.planned, "vote")} planned${each}, ${found.left} left for all voters together. `
      + `${found.comparisons > 1 ? "Each comparison has" : "There are"} images of ${plural(found.prompts, "prompt")}. A comparison ends early once its answer is clear.`;
    byId("needed").tBodies[0].replaceChildren(...Object.entries(found.needed).map(([rate, n]) => row(rate, n)));
    byId("name").value = voter;
    show("start");
  }

  async function shown(found) {
    state = found;
    if (found.over) return end(found);
    if (!found.card) return pause(found);
    show("vote");
    const { token, prompt } = found.card;
    byId("prompt").replaceChildren(element("bdi", prompt));
    byId("prompt").hidden = hidden;
    byId("progress").textContent = found.left ? `${found.left} left to the plan, ${plural(found.mine, "vote")} of yours` : `beyond the plan, ${plural(found.mine, "vote")} of yours`;
    byId("undo").disabled = !found.mine;
    look("side by side");
    zoom(false);
    stage.classList.add("waiting");
    await Promise.all(sides.map(async (side) => {
      const image = byId(side);
      image.src = `/image/${token}/${side}?as=${encodeURIComponent(voter)}`;
      await image.decode().catch(() => { byId("trouble").textContent = "An image can't be read: it was deleted or damaged. Vote “No difference” to go on, or load the page again."; });
    }));
    stage.classList.toggle("small", byId("left").naturalWidth < byId("left").clientWidth / 2);
    stage.classList.remove("waiting");
    since = performance.now();
    busy = false;
  }

  function pause(found) {
    show("pause");
    const planned = found.left === 0;
    byId("pause-title").textContent = planned ? "The planned votes are in" : "You have judged every pair";
    byId("pause-text").textContent = planned
      ? "Others may still vote, or you go on; both makes the result more exact. Once it is shown no vote counts any more."
      : `${found.left} votes are left to the plan, for others. Once the result is shown no vote counts any more.`;
    byId("more").hidden = !planned || more;
    byId("pause-undo").hidden = !found.mine;
    (planned && !more ? byId("more") : byId("end")).focus();
  }

  function end(found) {
    show("result");
    const percent = (share) => (share * 100).toFixed(0);
    const rate = (each) => `${percent(each.share)} %` + (each.low === null ? "" : ` [${percent(each.low)}, ${percent(each.high)}]`);
    byId("verdict").textContent = found.verdict;
    byId("rates").tBodies[0].replaceChildren(...found.result.comparisons.filter((each) => "share" in each).map((each) =>
      row(each.label, each.other, rate(each), each.wins, each.ties, each.losses, found.p[`${each.finalist}/${each.against}`])));
    byId("notes").replaceChildren(...found.notes.map((text) => element("li", text)));
  }

  // Voting

  async function vote(choice) {
    if (busy || byId("vote").hidden) return;
    last = state.card.token;
    const body = { card: last, choice, seconds: (performance.now() - since) / 1000, prompt_shown: !hidden };
    await shown(await sent("/vote", body));
  }

  async function undo() {
    if (!state?.mine || (busy && !byId("vote").hidden)) return;
    const found = await sent("/undo", { card: last });
    last = null;
    await shown(found);
  }

  function look(how) {
    stage.classList.toggle("flicker", how !== "side by side");
    if (how === "side by side") delete stage.dataset.shown;
    else stage.dataset.shown = how;
    byId("flicker").setAttribute("aria-pressed", String(how !== "side by side"));
  }

  const flicker = () => look(stage.dataset.shown === "left" ? "right" : "left");

  function zoom(on) {
    stage.classList.toggle("zoom", on);
    byId("zoom").setAttribute("aria-pressed", String(on));
    const image = byId("left");
    const fit = Math.min(image.clientWidth / image.naturalWidth, image.clientHeight / image.naturalHeight) || 1;
    stage.style.setProperty("--scale", String(Math.max(3, 1 / fit)));
  }

  function pan(event) {
    if (!stage.classList.contains("zoom")) return;
    const figure = event.target.closest("figure");
    if (!figure) return;
    const box = figure.getBoundingClientRect();
    stage.style.setProperty("--x", `${(100 * (event.clientX - box.left)) / box.width}%`);
    stage.style.setProperty("--y", `${(100 * (event.clientY - box.top)) / box.height}%`);
  }

  function prompt() {
    hidden = !hidden;
    localStorage.setItem("freeu-vote-prompt", hidden ? "hidden" : "shown");
    labelled();
  }

  function labelled() {
    byId("prompt").hidden = hidden;
    byId("hide").textContent = hidden ? "Show prompt" : "Hide prompt";
    byId("hide").setAttribute("aria-pressed", String(hidden));
  }

  for (const button of document.querySelectorAll("[data-choice]")) button.addEventListener("click", () => vote(button.dataset.choice));
  byId("undo").addEventListener("click", undo);
  byId("flicker").addEventListener("click", flicker);
  byId("zoom").addEventListener("click", () => zoom(!stage.classList.contains("zoom")));
  byId("hide").addEventListener("click", prompt);
  stage.addEventListener("pointermove", pan);
  stage.addEventListener("pointerdown", pan);
  byId("pause-undo").addEventListener("click", async () => { more = false; await undo(); });
  byId("more").addEventListener("click", async () => { more = true; await shown(await sent(`/state?as=${encodeURIComponent(voter)}&more`)); });
  byId("end").addEventListener("click", async () => shown(await sent("/end", {})));

  const keys = {
    ArrowLeft: () => vote("left"), ArrowRight: () => vote("right"), ArrowDown: () => vote("tie"), Backspace: undo,
    " ": flicker, Escape: () => look("side by side"), z: () => zoom(!stage.classList.contains("zoom")), p: prompt,
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (byId("vote").hidden) {
      if (event.key === "Backspace" && !byId("pause").hidden) byId("pause-undo").click();
      return;
    }
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (!(key in keys)) return;
    event.preventDefault(); // a button in focus would take the space
    if (!event.repeat) keys[key]();
  });
  document.addEventListener("keyup", (event) => { if (event.key === " " && !byId("vote").hidden) event.preventDefault(); });

  byId("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    voter = byId("name").value.trim();
    history.replaceState(null, "", `?as=${encodeURIComponent(voter)}&on`);
    await shown(await sent(`/state?as=${encodeURIComponent(voter)}`));
  });

  (async () => {
    labelled();
    const found = await sent(`/state?as=${encodeURIComponent(voter || "anyone")}`);
    const going = new URLSearchParams(location.search).has("on");
    await (found.over || (going && voter) ? shown(found) : begin(found));
  })();
})();
