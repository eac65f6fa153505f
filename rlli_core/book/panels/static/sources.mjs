// Who answers the panel: a kernel, precomputed pictures, or the model in this browser. All have
//   run(state, { signal, progress, draw, allow }) -> what to say; calls draw(stage, device, picture, caption) as pictures come, and before
//     a device starts allow(device, lowest, restarts): the lowest timestep at which it may, and those that there are (null: all). What is
//     said and captions are lists of texts and elements, never HTML: names and prompts come from files and readers
//   choice(who, state) -> Choice of "policy" or "optimum"
//   start(tell), only where there is more to be had: bring the model into the browser

import { asker, assets, load, make } from "./common.mjs";

/**
 * What crosses between Python and JavaScript, as `messages.py` declares it; there is also what each field means.
 *
 * @typedef {object} User
 * @property {string} prompt
 * @property {number} deviceSteps
 * @property {number} bep
 * @property {number | null} restart
 * @property {string} person
 *
 * @typedef {object} State
 * @property {number} group
 * @property {string} serverPrompt
 * @property {number} sharedSteps
 * @property {number} gainDb
 * @property {number} seed
 * @property {string} receiver
 * @property {User[]} users
 *
 * @typedef {object} Picture
 * @property {"sent" | "received" | "image"} stage
 * @property {number | null} device
 * @property {number | null} lowest
 * @property {Object<string, number>} scores
 *
 * @typedef {object} Choice
 * @property {number} sharedSteps
 * @property {number[]} deviceSteps
 * @property {number[]} powersW
 * @property {number[]} beps
 *
 * @typedef {object} Config
 * @property {string[][]} groups
 * @property {string[]} people
 * @property {number[]} beps
 * @property {number[]} gainsDb
 * @property {number[]} restarts
 * @property {string[]} receivers
 * @property {number} maxSharedSteps
 * @property {number} maxDeviceSteps
 * @property {State} start
 * @property {number} serverStepEnergy
 * @property {number} powerWeight
 * @property {number} serverBudget
 * @property {number} airtimeS
 * @property {number[][]} bepByPower
 */

const NOTHING = "nothing is sent";
/** The score of the person who judges, then those of all people as far as they are known: a list of [name, score or null]. */
const scores = (person, all) => {
  const tell = ([name, value]) => `${name}: ${value === null ? "no rating" : value.toFixed(2)}`;
  const own = make("span", { className: "score", textContent: tell(all.find(([name]) => name === person)) });
  const everybody = all.map((one) => tell(one).replaceAll(" ", "\u00a0")).join(" · ");
  return [make("br"), own, ...(all.length > 1 ? [make("span", { className: "others", textContent: everybody })] : [])];
};
/** What is below the picture of a stage. */
const caption = (stage, k, { sharedSteps, users }) => {
  if (stage === "image") return `device ${k + 1}: ${users[k].prompt || "(no words)"}`;
  if (!sharedSteps) return NOTHING;
  return stage === "sent" ? `the server's latent after ${sharedSteps} step${sharedSteps > 1 ? "s" : ""}` : `received by device ${k + 1}`;
};

/** The line through points (xs, ys) at `x`, of rising xs; beyond their ends, the end. */
function interpolate(x, xs, ys) {
  const i = xs.findIndex((known) => known >= x);
  if (i < 1) return ys.at(i);
  return ys[i - 1] + ((ys[i] - ys[i - 1]) * (x - xs[i - 1])) / (xs[i] - xs[i - 1]);
}

/** Transmit power in watts that a bit error probability takes at a linear channel gain; none takes that of the table's least. */
export const powerFor = (bep, gain, bepByPower) =>
  interpolate(-Math.log(bep), bepByPower.map(([, known]) => -Math.log(known)), bepByPower.map(([power]) => power)) / gain;

/** Bit error probability at a power in watts and a linear channel gain. */
const bepAt = (power, gain, bepByPower) =>
  Math.exp(interpolate(power * gain, bepByPower.map(([known]) => known), bepByPower.map(([, bep]) => Math.log(bep))));

/** A Jupyter kernel. */
export function kernelSource(model) {
  const ask = asker(model);

  async function show({ stage, device, scores: given }, buffers, state, draw) {
    const image = buffers.length ? await createImageBitmap(new Blob([buffers[0]])) : null;
    const judged = Object.entries(given);
    const said = judged.length ? scores(state.users[device].person, judged) : [];
    draw(stage, device, image && { image, x: 0, y: 0, side: image.width }, [caption(stage, device, state), ...said]);
  }

  return {
    choice: (who, state) => ask({ kind: "choice", who, state }),
    async run(state, { signal, progress, draw, allow }) {
      let drawn = Promise.resolve(); // decoding takes a moment, in which no picture must overtake another
      const said = await ask({ kind: "run", state }, signal, (answer, buffers) => {
        if (answer.stage === "received") allow(answer.device, answer.lowest, null); // before a start below it is refused
        drawn = drawn.then(() => (answer.kind === "progress" ? progress(answer.value) : show(answer, buffers, state, draw)));
      });
      await drawn;
      return [said];
    },
  };
}

/** The built page: pictures from the atlas until `start` has brought the model into the browser. */
export function pageSource(config) {
  const root = assets(), sheets = new Map();
  let atlas, engine;

  const index = () => (atlas ??= load("script", "atlas/atlas.js").then(() => globalThis.rlliAtlas));
  const sheet = (name) => {
    if (!sheets.has(name)) sheets.set(name, load("img", `atlas/${name}.webp`));
    return sheets.get(name);
  };
  const nearest = (values, value) => values.reduce((a, b) => (Math.abs(b - value) < Math.abs(a - value) ? b : a));

  /**
   * Where in the atlas the state is, or nearest to it. A device is in one of three kinds of sheets: "restart" has earlier
   * starts, without bit errors; "noise_aware" that receiver, with some; "paper" all else, and where the others are not there.
   */
  function locate(state, all) {
    const group = all.groups[state.group];
    const sharedSteps = nearest(all.shared_steps, state.sharedSteps);
    const own = state.users.map((u) => nearest(all.device_steps, u.deviceSteps));
    const longest = Math.max(...own);
    const beps = all.beps.slice(0, sharedSteps ? undefined : 1);
    return { group, sharedSteps, longest, users: state.users.map((u, k) => {
      const [asked, noiseAware] = [beps.indexOf(nearest(beps, u.bep)), state.receiver === "noise-aware"];
      const timesteps = group.effective?.[sharedSteps]?.[all.device_steps.indexOf(longest)];
      const lowest = sharedSteps ? timesteps?.[noiseAware ? asked : 0] ?? null : 0;
      const starts = group.restart ? all.restarts.filter((t) => t >= lowest) : [];
      const restart = u.restart !== null && starts.length ? nearest(starts, u.restart) : null;
      const received = restart === null ? asked : 0; // column of the picture of what is received
      const kind = restart !== null ? "restart" : noiseAware && received && group.noise_aware ? "noise_aware" : "paper";
      return {
        deviceSteps: own[k], lowest, starts, restart, received, kind, prompt: group.prompts.indexOf(u.prompt),
        column: { restart: all.restarts.indexOf(restart), noise_aware: received - 1, paper: received }[kind],
        row: all.plans[sharedSteps].findIndex(([m, t]) => t === own[k] && (sharedSteps === 0 || m === longest)),
        receiver: noiseAware && received ? (kind === "paper" ? "as the paper receives" : "noise-aware") : "",
      };
    }) };
  }

  const known = (state, at) => state.serverPrompt === at.group.prompts[0] && at.users.every((u) => u.prompt >= 0);
  function scoresOf(all, at, { kind, prompt, row, column }) {
    const sheets = at.group[kind === "paper" ? "scores" : kind];
    return sheets[`${prompt}-${at.sharedSteps}`][row][column].map((score, i) => [all.people[i], score / 1000]);
  }

  async function fromAtlas(state, { signal, progress, draw, allow }, all) {
    const at = locate(state, all);
    if (!known(state, at)) {
      const why = state.serverPrompt === at.group.prompts[0] ? "" : " and the server's is the group's first";
      throw new Error(`Worked out beforehand are the prompts that the fields suggest${why}. For any other words press `
        + "“Run the model here”.");
    }
    at.users.forEach(({ lowest, starts }, k) => allow(k, lowest, starts));
    if (signal.aborted) return [];
    const name = at.group.number;
    const [stage, ...sheetsOf] = await Promise.all([
      at.sharedSteps ? sheet(`${name}-sent-${at.sharedSteps}`) : null,
      ...at.users.map((u) => sheet(`${name}-${u.prompt}-${at.sharedSteps}${u.kind === "paper" ? "" : `-${u.kind}`}`)),
    ]);
    if (signal.aborted) return [];
    progress(1);
    const shown = { ...state, sharedSteps: at.sharedSteps };
    const y = 128 * all.device_steps.indexOf(at.longest);
    draw("sent", null, stage && { image: stage, x: 0, y }, [caption("sent", null, shown)]);
    at.users.forEach((u, k) => {
      draw("received", k, stage && { image: stage, x: 128 * u.received, y }, [caption("received", k, shown)]);
      draw("image", k, { image: sheetsOf[k], x: 128 * u.column, y: 128 * u.row },
        [caption("image", k, shown), ...scores(state.users[k].person, scoresOf(all, at, u))]);
    });
    const rates = at.users.map((u) => `${100 * all.beps[u.received]} %`).join(" and ");
    const starts = at.users.flatMap((u, k) => (u.restart === null ? [] : [`, device ${k + 1} starts at ${u.restart}`])).join("");
    const receiver = at.users.map((u) => u.receiver).find(Boolean);
    const same = at.sharedSteps === state.sharedSteps && at.users.every((u, k) => u.deviceSteps === state.users[k].deviceSteps
      && (!at.sharedSteps || all.beps[u.received] === state.users[k].bep) && u.restart === state.users[k].restart)
      && receiver !== "as the paper receives";
    const [t1, t2] = at.users.map((u) => u.deviceSteps);
    return [...(same ? ["Worked"] : [make("b", { textContent: "Nearest point" }), " worked"]), ` out beforehand: t₀ = ${at.sharedSteps}, `
      + `t₁ = ${t1}, t₂ = ${t2}${at.sharedSteps ? `, bit errors ${rates}` : ""}${receiver ? `, ${receiver}` : ""}${starts}, seed ${all.seed}.`
      + (at.group.restart ? "" : " Noise-aware devices and other starts were worked out for the first prompts; here run the model.")];
  }

  async function fromModel(state, { signal, progress, draw, allow }) {
    const { serverPrompt, sharedSteps, seed, receiver, users } = state;
    const made = await engine.run({
      serverPrompt, devicePrompts: users.map((u) => u.prompt), sharedSteps, deviceSteps: users.map((u) => u.deviceSteps),
      beps: users.map((u) => u.bep), seed, receiver, restarts: users.map((u) => u.restart), signal,
      onStep: ({ step, steps }) => progress(step / steps),
      onSent: (ranges) => ranges.forEach(([lowest], k) => allow(k, lowest, null)),
    });
    const show = (k, said) => draw("image", k, made.devices[k].image, [caption("image", k, state), ...said]);
    draw("sent", null, sharedSteps ? made.sent.image : null, [caption("sent", null, state)]);
    made.devices.forEach((device, k) => {
      draw("received", k, sharedSteps ? device.received.image : null, [caption("received", k, state)]);
      show(k, [make("br"), `${users[k].person}: no score yet`]);
    });
    const rated = state.users.map(() => new Map());
    async function rate(k, person) { // null where the agent does not answer with a rating
      const how = { signal, onProgress: (loaded, size) => progress(loaded / size) };
      rated[k].set(person, await engine.score(made.devices[k].image, person, state.users[k].prompt, how).then(({ value }) => value, (error) => {
        if (error.name !== "UnreadableScore") throw error;
        return null;
      }));
    }
    for (const everybody of [[], config.people]) { // who judges first
      for (const [k, { person }] of state.users.entries()) {
        for (const one of [person, ...everybody]) if (!rated[k].has(one)) await rate(k, one);
        show(k, scores(person, (everybody.length ? everybody : [person]).map((name) => [name, rated[k].get(name)])));
      }
    }
    const flips = `; ${made.devices.map((d) => d.flippedBits).join(" and ")} of ${made.devices[0].payloadBits} bits arrived wrong`;
    return [`Computed in this browser in ${(made.milliseconds / 1000).toFixed(1)} s${sharedSteps ? flips : ""}. `
      + "The scores are the agent's own of these pictures."];
  }

  return {
    async start(tell) {
      if (location.protocol === "file:") {
        throw new Error("A browser does not let a page opened as a file load the model. Serve the book, for example with "
          + "python -m http.server -d build/html, and open http://localhost:8000; the precomputed pictures work either way.");
      }
      const { Engine } = await import(new URL("engine/engine.mjs", root).href);
      engine = await Engine.load(new URL("engine/", root).href, {
        onProgress: (loaded, size) => tell(`Loading the model: ${(loaded / 1e6).toFixed(0)} of ${(size / 1e6).toFixed(0)} MB`, loaded / size),
      });
    },
    async choice(who, state) {
      const all = await index();
      const at = locate(state, all);
      const people = state.users.map((u) => all.people.indexOf(u.person));
      const key = [at.users[0].prompt === 0 ? at.users[1].prompt : -1, ...people, all.gains_db.indexOf(nearest(all.gains_db, state.gainDb))].join("-");
      const found = at.group[who][key];
      if (!found || !known(state, at)) {
        throw new Error("Policy and optimum know the prompts that the fields suggest, where device 1 wants what the server draws.");
      }
      const [t0, t1, t2, ...powersW] = found;
      const beps = powersW.map((power) => bepAt(power, 10 ** (state.gainDb / 10), all.bep_by_power));
      return { sharedSteps: t0, deviceSteps: [t1, t2], powersW, beps };
    },
    async run(state, answer) {
      const all = await index();
      if (!engine && state.seed !== all.seed) {
        throw new Error(`Worked out beforehand is seed ${all.seed}. For another press “Run the model here”.`);
      }
      return (engine ? fromModel : fromAtlas)(state, answer, all);
    },
  };
}
