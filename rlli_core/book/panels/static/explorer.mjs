// The explorer's panel. One module for JupyterLab, where a kernel answers, and for the built page, where precomputed
// pictures answer and, on a button, the model itself in the reader's browser.
import { field, make, onPage, slider, toggle } from "./common.mjs";
import { kernelSource, pageSource, powerFor } from "./sources.mjs";

const placeOf = (stage, device) => (device === null ? stage : `${stage}-${device}`);
const PLACES = [placeOf("sent", null), ...[0, 1].flatMap((k) => [placeOf("received", k), placeOf("image", k)])];

function render({ model, el }) {
  const config = model.get("config");
  const source = onPage() ? pageSource(config) : kernelSource(model);
  const percent = (value) => `${(100 * value).toFixed(value && value < 0.1 ? 1 : 0)} %`;
  const counts = (low, high) => Array.from({ length: high - low + 1 }, (_, i) => low + i);
  let latest = null, chosen = null; // the request under way; powers of a choice, until a control moves
  let lowest = config.start.users.map(() => null); // timesteps at which the devices may start, as far as they are known
  const moved = () => ((chosen = null), refresh());
  const startText = (k) => (t) => {
    const known = lowest[k] === null ? "" : ` ${lowest[k]}`;
    if (!sharedSteps.get()) return t === null ? "at full noise: nothing is shared" : `late: bare noise taken as of timestep ${t}`;
    if (t !== null) return `earlier: fresh noise to ${t}${known && `, lowest${known}`}`;
    const noisy = receiver.get() !== config.receivers[0] && users[k].bep.get() > 0;
    return `where the ${noisy ? "noise puts it" : "server stopped"}${known && `: timestep${known}`}`;
  };

  const group = field("prompts", config.groups.map((g) => g.join(" · ")), (text) => choose(text), true);
  const serverPrompt = field("server draws", [], moved);
  const sharedSteps = slider("shared steps t₀", counts(0, config.maxSharedSteps), String, moved);
  const gainDb = slider("channel gain (sets the power)", config.gainsDb, (g) => `${g} dB`, moved);
  const seed = slider("seed", counts(0, 99), String, moved);
  const receiver = toggle("noise-aware devices", config.receivers,
    (name) => (name === config.receivers[0] ? "off: they take what arrives as clean" : "on: they allow for the link’s noise"), moved);
  const users = [0, 1].map((k) => ({
    prompt: field("wants", [], moved),
    deviceSteps: slider(`own steps t${"₁₂"[k]}`, counts(1, config.maxDeviceSteps), String, moved),
    bep: slider("bit errors", config.beps, percent, moved),
    restart: slider("start", [null, ...config.restarts], startText(k), moved),
    person: field("judged as", config.people, moved, true),
  }));
  const pictures = Object.fromEntries(PLACES.map((place) => {
    const canvas = make("canvas", { width: 128, height: 128 });
    canvas.setAttribute("role", "img");
    return [place, { canvas, caption: make("figcaption") }];
  }));
  const note = make("p", { className: "note" });
  note.setAttribute("aria-live", "polite");
  const bar = make("progress", { max: 1, value: 0 });
  const buttons = {
    policy: make("button", { type: "button", textContent: "What the policy would choose" }),
    optimum: make("button", { type: "button", textContent: "The optimum" }),
    run: make("button", { type: "button", textContent: "Run the model here" }),
  };
  const box = make("div", { className: "rlli" },
    make("fieldset", {}, make("legend", { textContent: "Edge server" }), make("div", { className: "server" },
      group.element, serverPrompt.element, sharedSteps.element, gainDb.element, seed.element, receiver.element)),
    make("div", { className: "users" }, ...users.map((user, k) =>
      make("fieldset", {}, make("legend", { textContent: `Device ${k + 1}` }), user.prompt.element, user.deviceSteps.element,
        user.bep.element, user.restart.element, user.person.element))),
    make("div", { className: "buttons" }, ...Object.values(buttons)),
    bar,
    make("div", { className: "pictures" }, ...PLACES.map((p) => make("figure", {}, pictures[p].canvas, pictures[p].caption))),
    note);

  const get = (controls) => Object.fromEntries(Object.entries(controls).map(([name, control]) => [name, control.get()]));
  const set = (controls, values) => Object.entries(controls).forEach(([name, control]) => control.set(values[name]));
  const server = { serverPrompt, sharedSteps, gainDb, seed, receiver }; // as in State
  users.forEach((user) => user.restart.element.classList.add("start"));
  /** @returns {State} */
  const read = () => ({
    group: config.groups.findIndex((g) => g.join(" · ") === group.get()), ...get(server), users: users.map(get),
  });

  function choose(text) {
    const prompts = config.groups.find((g) => g.join(" · ") === text);
    [serverPrompt, ...users.map((u) => u.prompt)].forEach((f, i) => (f.suggest(prompts), f.set(prompts[Math.max(0, i - 1)])));
    moved();
  }

  function draw(stage, device, picture, words) {
    const { canvas, caption } = pictures[placeOf(stage, device)];
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (picture instanceof ImageData) context.putImageData(picture, 0, 0);
    else if (picture) {
      const { image, x, y, side = 128 } = picture;
      context.drawImage(image, x, y, side, side, 0, 0, canvas.width, canvas.height);
    }
    canvas.setAttribute("aria-label", words.map((word) => word.textContent ?? word).join(" "));
    caption.replaceChildren(...words);
  }

  function energy(state) {
    if (!state.sharedSteps) return ["Nothing is shared and nothing is sent."];
    const powers = chosen ?? state.users.map((u) => powerFor(u.bep, 10 ** (state.gainDb / 10), config.bepByPower));
    const total = config.serverStepEnergy * state.sharedSteps + config.powerWeight * (powers[0] + powers[1]);
    const watts = powers.map((p) => `${p.toFixed(0)} W (${(10 * Math.log10(Math.max(p, 1e-3))).toFixed(0)} dBW)`).join(" and ");
    const over = total > config.serverBudget + 0.05;
    const spent = `${total.toFixed(1)} of ${config.serverBudget}${over ? ", over its budget" : ""}`;
    return [`${chosen ? "Chosen are" : "These error rates take"} ${watts}; the server spends `,
      make("span", { className: over ? "over" : "", textContent: spent }),
      `. A device spends 1 to 2 mWh a step. On air: ${(1e3 * config.airtimeS).toFixed(2)} ms.`];
  }

  /** Offer a device the starts that there are, null for all, from the lowest on; one that is not there gives way to the nearest. */
  function allow(k, least, restarts) {
    const { restart } = users[k], before = restart.get();
    lowest[k] = least;
    restart.offer([null, ...(restarts ?? config.restarts).filter((t) => t >= least)]);
    restart.element.querySelector("input").disabled = Boolean(restarts) && restarts.length === 0;
    if (restart.get() !== before) refresh();
  }

  async function refresh() {
    if (latest) latest.abort();
    lowest = lowest.map(() => null);
    users.forEach((user) => user.restart.tell());
    const mine = (latest = new AbortController());
    const state = read();
    note.replaceChildren(...energy(state));
    box.classList.add("busy");
    box.classList.remove("failed");
    for (const button of [buttons.policy, buttons.optimum]) {
      button.disabled = state.users[0].prompt !== state.serverPrompt;
      button.title = button.disabled ? "Only where device 1 wants what the server draws" : "";
    }
    bar.removeAttribute("value");
    try {
      const said = await source.run(state, {
        signal: mine.signal,
        progress: (part) => mine.signal.aborted || (bar.value = part),
        draw: (...what) => mine.signal.aborted || draw(...what),
        allow: (...what) => mine.signal.aborted || allow(...what),
      });
      if (!mine.signal.aborted) note.replaceChildren(...energy(state), " ", ...said);
    } catch (error) {
      if (!mine.signal.aborted) {
        note.textContent = error.message;
        box.classList.add("failed"); // the pictures are those of other settings
      }
    }
    if (!mine.signal.aborted) box.classList.remove("busy");
  }

  async function take(who) {
    try {
      const choice = await source.choice(who, read());
      sharedSteps.set(choice.sharedSteps);
      users.forEach((u, k) => (u.deviceSteps.set(choice.deviceSteps[k]), u.bep.set(choice.beps[k])));
      chosen = choice.powersW;
      await refresh();
    } catch (error) {
      note.textContent = error.message;
    }
  }

  buttons.policy.addEventListener("click", () => take("policy"));
  buttons.optimum.addEventListener("click", () => take("optimum"));
  const allowSeed = (allowed) => {
    seed.element.querySelector("input").disabled = !allowed;
    seed.element.title = allowed ? "" : "The pictures worked out beforehand have one seed; run the model here for others";
  };
  allowSeed(!source.start);
  buttons.run.hidden = !source.start;
  buttons.run.addEventListener("click", async () => {
    buttons.run.disabled = true;
    box.classList.add("busy");
    try {
      await source.start((text, part) => ((note.textContent = text), (bar.value = part)));
      buttons.run.textContent = "The model runs here";
      allowSeed(true);
    } catch (error) {
      buttons.run.disabled = false;
      box.classList.remove("busy");
      note.textContent = error.message;
      return;
    }
    await refresh();
  });
  const { start } = config, prompts = config.groups[start.group];
  group.set(prompts.join(" · "));
  [serverPrompt, ...users.map((u) => u.prompt)].forEach((f) => f.suggest(prompts));
  set(server, start);
  users.forEach((u, k) => set(u, start.users[k]));
  el.append(box);
  refresh();
  return () => latest && latest.abort();
}

export default { render };
