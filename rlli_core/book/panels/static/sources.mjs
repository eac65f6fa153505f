// Who answers the panel: a kernel, precomputed pictures, or the model in this browser. All have
//   run(state, { signal, progress, draw }) -> text to show; calls draw(place, picture, caption) as pictures come, HTML in both
//   choice(who, state) -> [t0, t1, t2, P1, P2] of "policy" or "optimum"
//   start(tell), only where there is more to be had: bring the model into the browser

import { asker, assets, load } from "./common.mjs";

const NOTHING = "nothing is sent";
/** The score of the person who judges, then those of all people as far as they are known: a list of [name, score or null]. */
const scores = (person, all) => {
  const tell = ([name, value]) => `${name}: ${value === null ? "no rating" : value.toFixed(2)}`;
  return `<span class="score">${tell(all.find(([name]) => name === person))}</span>`
    + (all.length > 1 ? `<span class="others">${all.map((one) => tell(one).replaceAll(" ", "\u00a0")).join(" · ")}</span>` : "");
};
const escape = (text) => text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);
const captions = (state) => ({
  sent: state.shared ? `the server's latent after ${state.shared} step${state.shared > 1 ? "s" : ""}` : NOTHING,
  received: (k) => (state.shared ? `received by device ${k + 1}` : NOTHING),
  image: (k) => `device ${k + 1}: ${escape(state.users[k].prompt) || "(no words)"}`,
});

/** A Jupyter kernel. */
export function kernelSource(model) {
  const ask = asker(model);

  async function show({ place, scores: given }, buffers, state, draw) {
    const image = buffers.length ? await createImageBitmap(new Blob([buffers[0]])) : null;
    const [kind, k] = place.split("-"), text = captions(state);
    const told = kind === "sent" ? text.sent : text[kind](+k);
    const judged = given ? `<br>${scores(state.users[k].person, Object.entries(given))}` : "";
    draw(place, image && { image, x: 0, y: 0, side: image.width }, told + judged);
  }

  return {
    choice: (who, state) => ask({ kind: "choice", who, state }),
    async run(state, { signal, progress, draw }) {
      let drawn = Promise.resolve(); // decoding takes a moment, in which no picture must overtake another
      const said = await ask({ kind: "run", state }, signal, (answer, buffers) => {
        drawn = drawn.then(() => (answer.kind === "progress" ? progress(answer.value) : show(answer, buffers, state, draw)));
      });
      await drawn;
      return said;
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

  /** Where in the atlas the state is, or nearest to it. */
  function locate(state, all) {
    const group = all.groups[state.group];
    const shared = nearest(all.shared_steps, state.shared);
    const own = state.users.map((u) => nearest(all.device_steps, u.steps));
    const longest = Math.max(...own);
    const beps = all.beps.slice(0, shared ? undefined : 1);
    return { group, shared, longest, users: state.users.map((u, k) => ({
      steps: own[k],
      prompt: group.prompts.indexOf(u.prompt),
      column: beps.indexOf(nearest(beps, u.bep)),
      row: all.plans[shared].findIndex(([m, t]) => t === own[k] && (shared === 0 || m === longest)),
    })) };
  }

  const known = (state, at) => state.server === at.group.prompts[0] && at.users.every((u) => u.prompt >= 0);
  const scoresOf = (all, at, { prompt, row, column }) =>
    at.group.scores[`${prompt}-${at.shared}`][row][column].map((score, i) => [all.people[i], score / 1000]);

  async function fromAtlas(state, { signal, progress, draw }, all) {
    const at = locate(state, all);
    if (!known(state, at)) {
      const why = state.server === at.group.prompts[0] ? "" : " and the server's is the group's first";
      throw new Error(`Worked out beforehand are the prompts that the fields suggest${why}. For any other words press `
        + "“Run the model here”.");
    }
    const name = at.group.number;
    const [stage, ...sheetsOf] = await Promise.all([
      at.shared ? sheet(`${name}-sent-${at.shared}`) : null, ...at.users.map((u) => sheet(`${name}-${u.prompt}-${at.shared}`)),
    ]);
    if (signal.aborted) return "";
    progress(1);
    const text = captions({ ...state, shared: at.shared });
    const level = 128 * all.device_steps.indexOf(at.longest);
    draw("sent", stage && { image: stage, x: 0, y: level }, text.sent);
    at.users.forEach((u, k) => {
      draw(`received-${k}`, stage && { image: stage, x: 128 * u.column, y: level }, text.received(k));
      draw(`image-${k}`, { image: sheetsOf[k], x: 128 * u.column, y: 128 * u.row },
        `${text.image(k)}<br>${scores(state.users[k].person, scoresOf(all, at, u))}`);
    });
    const rates = at.users.map((u) => `${100 * all.beps[u.column]} %`).join(" and ");
    const same = at.shared === state.shared && at.users.every((u, k) => u.steps === state.users[k].steps
      && (!at.shared || all.beps[u.column] === state.users[k].bep));
    return `${same ? "Worked out beforehand" : "<b>Nearest point</b> worked out beforehand"}: t₀ = ${at.shared}, t₁ = ${at.users[0].steps}, `
      + `t₂ = ${at.users[1].steps}${at.shared ? `, bit errors ${rates}` : ""}, seed ${all.seed}.`;
  }

  async function fromModel(state, { signal, progress, draw }) {
    const made = await engine.run({
      serverPrompt: state.server, devicePrompts: state.users.map((u) => u.prompt), sharedSteps: state.shared,
      deviceSteps: state.users.map((u) => u.steps), beps: state.users.map((u) => u.bep), seed: state.seed, signal,
      onStep: ({ step, steps }) => progress(step / steps),
    });
    const text = captions(state);
    const show = (k, said) => draw(`image-${k}`, made.devices[k].image, `${text.image(k)}<br>${said}`);
    draw("sent", state.shared ? made.sent.image : null, text.sent);
    made.devices.forEach((device, k) => {
      draw(`received-${k}`, state.shared ? device.received.image : null, text.received(k));
      show(k, `${state.users[k].person}: no score yet`);
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
    return `Computed in this browser in ${(made.milliseconds / 1000).toFixed(1)} s${state.shared ? flips : ""}. `
      + "The scores are the agent's own of these pictures.";
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
      const key = [at.users[0].prompt === 0 ? at.users[1].prompt : -1, ...people, all.gains_db.indexOf(nearest(all.gains_db, state.gain))].join("-");
      const found = at.group[who][key];
      if (!found || !known(state, at)) {
        throw new Error("Policy and optimum know the prompts that the fields suggest, where device 1 wants what the server draws.");
      }
      return found;
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
