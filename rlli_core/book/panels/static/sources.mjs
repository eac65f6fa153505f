// Who answers the panel: a kernel, or on the built page pictures worked out beforehand and the model in this browser. Both have
//   run(state, { signal, progress, show }) -> what to say of it; calls show(Shown) as pictures and scores come
//   choice(who, state) -> Choice of "policy" or "optimum"
//   snap(state) -> the state itself, or the nearest that can be shown
//   places(state) -> the places of each control that were worked out, null where the controls go anywhere
// and the page's also
//   ready() -> when the pictures' index is there; size() -> bytes of the model; start(tell): bring the model into the browser
//   steps(state, ...) -> every step of the chain; flips(state, k) -> which bits arrive wrong
import { asker, assets, load } from "./common.mjs";

/**
 * What crosses between Python and JavaScript, as `messages.py` declares it; there is also what each field means.
 *
 * @typedef {object} User
 * @property {string} prompt
 * @property {number} deviceSteps
 * @property {number} bep
 * @property {number | null} restart
 * @property {string | number[]} person
 * @property {boolean} alone
 *
 * @typedef {object} State
 * @property {string} serverPrompt
 * @property {number} sharedSteps
 * @property {number} channel
 * @property {number} seed
 * @property {string} receiver
 * @property {User[]} users
 *
 * @typedef {object} Choice
 * @property {number} sharedSteps
 * @property {number[]} deviceSteps
 * @property {number[]} powersW
 * @property {number[]} beps
 *
 * @typedef {object} Picture
 * @property {"sent" | "received" | "image" | "lone"} stage
 * @property {number | null} device
 * @property {number | null} lowest
 * @property {number | null} flipped
 * @property {Object<string, number>} scores
 *
 * @typedef {object} Channel
 * @property {string} name
 * @property {number | null} gainDb
 * @property {number[][]} bepByPower
 *
 * @typedef {object} Config
 * @property {string[][]} groups
 * @property {string[]} prompts
 * @property {Object<string, object>} people
 * @property {string[]} traits
 * @property {number[]} beps
 * @property {number[]} restarts
 * @property {Channel[]} channels
 * @property {string[]} receivers
 * @property {number} maxSharedSteps
 * @property {number} maxDeviceSteps
 * @property {State} start
 * @property {boolean} wholePage
 * @property {number[][]} bestStarts
 * @property {number} stepEnergyMwh
 * @property {number} serverStepEnergyMwh
 * @property {number} stepS
 * @property {number} serverStepS
 * @property {number} airtimeS
 * @property {number} payloadBits
 * @property {number[]} latentShape
 * @property {number} flipStream
 */

/**
 * What the sources tell the screen:
 *
 * @typedef {ImageData | {image: CanvasImageSource, x: number, y: number, side: number}} Drawing
 *
 * @typedef {object} Rated a picture and its scores: of a person's name, or "" for who judges; null where there is no rating
 * @property {Drawing} picture
 * @property {Object<string, number | null>} scores
 *
 * @typedef {object} Lane what one device receives and makes of it, and what it would make alone from its best start
 * @property {Drawing | null} received
 * @property {number | null} lowest timestep from which the device may start
 * @property {number | null} flipped bits that arrived wrong
 * @property {Rated} image
 * @property {Rated} lone
 *
 * @typedef {object} Shown
 * @property {Drawing | null} sent
 * @property {Partial<Lane>[]} users
 */

/** Whether a device takes part in the sharing. */
export const shares = (state, user) => state.sharedSteps > 0 && !user.alone;

/** Own steps of the longest chain among those who share, which sets the server's grid; 0 if nobody does. */
export const longestOf = (state) => Math.max(0, ...state.users.filter((u) => shares(state, u)).map((u) => u.deviceSteps));

/** The start that serves a device alone best. */
export const bestStart = (config, steps) =>
  (config.bestStarts.filter(([known]) => known <= steps).at(-1) ?? config.bestStarts[0])[1];

/** The line through points (xs, ys) at `x`, of rising xs; beyond their ends, the end. */
function interpolate(x, xs, ys) {
  const i = xs.findIndex((known) => known >= x);
  if (i < 1) return ys.at(i);
  return ys[i - 1] + ((ys[i] - ys[i - 1]) * (x - xs[i - 1])) / (xs[i] - xs[i - 1]);
}

/** Transmit power in watts that a bit error probability takes on a channel; none takes that of the table's least. */
export const powerFor = (bep, { bepByPower }) =>
  interpolate(-Math.log(bep), bepByPower.map(([, known]) => -Math.log(known)), bepByPower.map(([power]) => power));

/** Bit error probability at a power in watts on a channel. */
export const bepAt = (power, { bepByPower }) =>
  Math.exp(interpolate(power, bepByPower.map(([known]) => known), bepByPower.map(([, bep]) => Math.log(bep))));

/** The one of `values` nearest to `value`; null is near to nothing but itself. */
export function nearest(values, value) {
  if (values.includes(value)) return value;
  const numbers = values.filter((one) => one !== null);
  if (value === null || !numbers.length) return values[0];
  return numbers.reduce((a, b) => (Math.abs(b - value) < Math.abs(a - value) ? b : a));
}

/** A Jupyter kernel. */
export function kernelSource(model) {
  const ask = asker(model);
  return {
    choice: (who, state) => ask({ kind: "choice", who, state }),
    snap: (state) => state,
    places: () => null,
    async run(state, { signal, progress, show }) {
      const shown = { sent: null, users: state.users.map(() => ({})) };
      let drawn = Promise.resolve(); // decoding takes a moment, in which no picture must overtake another
      async function take({ stage, device, lowest, flipped, scores }, buffers) {
        const image = buffers.length ? await createImageBitmap(new Blob([buffers[0]])) : null;
        const picture = image && { image, x: 0, y: 0, side: image.width };
        if (stage === "sent") shown.sent = picture;
        else if (stage === "received") Object.assign(shown.users[device], { received: picture, lowest, flipped });
        else shown.users[device][stage] = { picture, scores };
        show({ sent: shown.sent, users: shown.users.map((one) => ({ ...one })) });
      }
      await ask({ kind: "run", state }, signal, (answer, buffers) => {
        drawn = drawn.then(() => (answer.kind === "progress" ? progress(answer.value) : take(answer, buffers)));
      });
      await drawn;
      return "Computed by the kernel.";
    },
  };
}

/** The built page: pictures from the atlas, and the model once `start` has brought it into the browser. */
export function pageSource(config) {
  const root = assets(), sheets = new Map();
  let index, all, engine; // all: the atlas' index, once it is there

  const sheet = (name) => {
    if (!sheets.has(name)) sheets.set(name, load("img", `atlas/${name}.webp`));
    return sheets.get(name);
  };
  const groupOf = ({ serverPrompt }) => all.groups.find(({ prompts }) => prompts[0] === serverPrompt);
  const words = (state) => [state.serverPrompt, ...state.users.map((u) => u.prompt)];

  function places(state) {
    if (!all) return null;
    const group = groupOf(state), others = group && Object.keys(group.noise_aware).length > 0;
    return {
      sharedSteps: all.shared_steps, seed: all.seeds, receiver: config.receivers.slice(0, others ? undefined : 1),
      users: state.users.map((u) => {
        const shared = shares(state, u);
        const timesteps = shared && group?.effective[state.seed]?.[state.sharedSteps];
        const lowest = timesteps && timesteps[all.device_steps.indexOf(longestOf(state))]?.[0];
        const starts = !shared ? all.restarts : others && u.bep === 0 ? all.restarts.filter((t) => t >= (lowest ?? 0)) : [];
        return { deviceSteps: all.device_steps, bep: all.beps, restart: [null, ...starts] };
      }),
    };
  }

  /** Where in the atlas a state is; null if it is nowhere. */
  function locate(state) {
    const group = all && groupOf(state), at = group && places(state);
    if (!at || !at.seed.includes(state.seed) || !at.sharedSteps.includes(state.sharedSteps)) return null;
    const longest = longestOf(state), { seed } = state;
    const users = state.users.map((u, k) => {
      const place = group.prompts.indexOf(u.prompt), shared = shares(state, u), bep = shared ? all.beps.indexOf(u.bep) : 0;
      const noiseAware = shared && bep > 0 && state.receiver !== config.receivers[0];
      if (place < 0 || bep < 0 || !at.users[k].deviceSteps.includes(u.deviceSteps) || !at.users[k].restart.includes(u.restart)
        || (noiseAware && !at.receiver.includes(state.receiver))) return null;
      const cell = (kind, sharedSteps, column) => ({
        kind, column, name: `${seed}-${group.number}-${place}-${sharedSteps}${kind === "scores" ? "" : `-${kind}`}`,
        row: all.plans[sharedSteps].findIndex(([most, own]) => own === u.deviceSteps && (!sharedSteps || most === longest)),
        key: `${seed}-${place}-${sharedSteps}`,
      });
      const from = (restart, sharedSteps, otherwise) =>
        restart === null ? otherwise : cell("restart", sharedSteps, all.restarts.indexOf(restart));
      const t0 = shared ? state.sharedSteps : 0;
      return {
        image: from(u.restart, t0, noiseAware ? cell("noise_aware", t0, bep - 1) : cell("scores", t0, bep)),
        lone: from(bestStart(config, u.deviceSteps), 0, cell("scores", 0, 0)), bep, shared,
      };
    });
    return users.every(Boolean) ? { group, longest, users } : null;
  }

  async function fromAtlas(state, at, { signal, progress, show }) {
    const { group, users } = at, t0 = state.sharedSteps, shared = at.longest > 0;
    const scores = ({ kind, key, row, column }, { person }) => {
      const found = Object.fromEntries(group[kind][key][row][column].map((score, i) => [all.people[i], score / 1000]));
      return { ...found, "": found[person] };
    };
    const names = users.flatMap(({ image, lone }) => [image.name, lone.name]);
    const sent = shared ? await sheet(`${state.seed}-${group.number}-sent-${t0}`) : null;
    const found = new Map(await Promise.all(names.map(async (name) => [name, await sheet(name)])));
    if (signal.aborted) return "";
    progress(1);
    const row = all.device_steps.indexOf(at.longest), side = all.side;
    const stage = (column) => ({ image: sent, x: side * column, y: side * row, side });
    const rated = (cell, user) => ({
      picture: { image: found.get(cell.name), x: side * cell.column, y: side * cell.row, side }, scores: scores(cell, user),
    });
    const timesteps = group.effective[state.seed][t0]?.[row];
    show({ sent: shared ? stage(0) : null, users: users.map((u, k) => ({
      received: u.shared ? stage(u.bep) : null, flipped: null,
      lowest: u.shared ? timesteps[state.receiver === config.receivers[0] ? 0 : u.bep] : 0,
      image: rated(u.image, state.users[k]), lone: rated(u.lone, state.users[k]),
    })) });
    const own = state.users.some((u) => typeof u.person !== "string");
    return `Worked out beforehand.${own ? " The score of traits of one’s own takes the model here." : ""}`;
  }

  /** One call of the engine for some of the devices; all of them get the bit flips of the one seed, as in the atlas. */
  const serve = (state, some, sharedSteps, restarts, how) => engine.run({
    serverPrompt: sharedSteps ? state.serverPrompt : some[0].prompt, devicePrompts: some.map((u) => u.prompt), sharedSteps,
    deviceSteps: some.map((u) => u.deviceSteps), beps: some.map((u) => (sharedSteps ? u.bep : 0)), seed: state.seed,
    flipSeeds: some.map(() => state.seed), receiver: state.receiver, restarts, liftRestarts: true, ...how,
  });

  /** The devices that share and those that are alone, each in one call; the answers in the order of the devices. */
  async function round(state, how) {
    const made = { sent: null, devices: [] };
    for (const shared of [true, false]) {
      const some = state.users.filter((u) => shares(state, u) === shared);
      if (!some.length) continue;
      const answer = await serve(state, some, shared ? state.sharedSteps : 0, some.map((u) => u.restart), how);
      if (shared) made.sent = answer.sent;
      some.forEach((u, i) => (made.devices[state.users.indexOf(u)] = { ...answer.devices[i], shared }));
    }
    return made;
  }

  async function fromModel(state, { signal, progress, show }) {
    const how = { signal, onStep: ({ step, steps }) => progress(step / steps) };
    const started = performance.now(), made = await round(state, how), seconds = (performance.now() - started) / 1000;
    const shown = { sent: made.sent?.image ?? null, users: made.devices.map((device) => ({
      received: device.shared ? device.received.image : null, lowest: device.lowest,
      flipped: device.shared ? device.flippedBits : null,
      image: { picture: device.image, scores: {} },
    })) };
    const tell = () => show({ ...shown, users: shown.users.map((one) => ({ ...one })) });
    tell();
    async function rate(kind, k, person, name) { // null where the agent does not answer with a rating
      const rated = shown.users[k][kind], heard = { signal, onProgress: (loaded, size) => progress(loaded / size) };
      const asked = engine.score(rated.picture, person, state.users[k].prompt, heard);
      const score = await asked.then(({ value }) => value, (error) => {
        if (error.name !== "UnreadableScore") throw error;
        return null;
      });
      shown.users[k][kind] = { ...rated, scores: { ...rated.scores, [name]: score } };
      tell();
    }
    for (const [k, { person }] of state.users.entries()) await rate("image", k, person, "");
    const lone = await serve(state, state.users, 0, state.users.map((u) => bestStart(config, u.deviceSteps)), how);
    lone.devices.forEach((device, k) => (shown.users[k].lone = { picture: device.image, scores: {} }));
    for (const [k, { person }] of state.users.entries()) await rate("lone", k, person, "");
    (async () => { // everybody else's, which nobody needs to wait for
      for (const name of Object.keys(config.people)) {
        for (const k of state.users.keys()) for (const kind of ["image", "lone"]) await rate(kind, k, name, name);
      }
    })().catch(() => {});
    return `Computed in this browser in ${seconds.toFixed(1)} s.`;
  }

  const served = location.protocol !== "file:";
  const script = (name) => import(new URL(`engine/${name}.mjs`, root).href);
  return {
    served, places,
    ready: () => (index ??= load("script", "atlas/atlas.js").then(() => (all = globalThis.rlliAtlas))),
    snap(state) {
      if (engine || !all) return state;
      const at = places(state), group = groupOf(state);
      if (!group || !words(state).every((text) => group.prompts.includes(text))) return state; // to be said, not changed
      const base = { ...state, sharedSteps: nearest(at.sharedSteps, state.sharedSteps), seed: nearest(at.seed, state.seed),
        receiver: at.receiver.includes(state.receiver) ? state.receiver : at.receiver[0] };
      const users = base.users.map((u) =>
        ({ ...u, deviceSteps: nearest(all.device_steps, u.deviceSteps), bep: nearest(all.beps, u.bep) }));
      const next = { ...base, users }, then = places(next).users;
      return { ...next, users: users.map((u, k) => ({ ...u, restart: nearest(then[k].restart, u.restart) })) };
    },
    async size() {
      const response = await fetch(new URL("engine/engine.json", root)), about = await response.json();
      return about.runtime_bytes + Object.values(about.files).reduce((a, b) => a + b);
    },
    async start(tell) {
      if (!served) {
        throw new Error("A browser does not let a page opened as a file load the model. Serve the book, for example with "
          + "python -m http.server -d build/html, and open http://localhost:8000; the precomputed pictures work either way.");
      }
      const { Engine } = await script("engine");
      engine = await Engine.load(new URL("engine/", root).href, { onProgress: tell });
    },
    async choice(who, state) {
      const group = groupOf(state), { gainDb } = config.channels[state.channel];
      const others = state.users.map((u) => all.people.indexOf(u.person));
      const case_ = [group?.prompts.indexOf(state.users[1]?.prompt), ...others, all.gains_db.indexOf(gainDb)].join("-");
      const found = group?.[who][case_];
      if (!found || state.users[0].prompt !== state.serverPrompt) {
        throw new Error("Policy and optimum know the prompts that the fields suggest, where device 1 wants what the server draws, "
          + "people by name, and a channel of known gain.");
      }
      const [t0, t1, t2, ...powersW] = found;
      const beps = powersW.map((power) => bepAt(power, config.channels[state.channel]));
      return { sharedSteps: t0, deviceSteps: [t1, t2], powersW, beps };
    },
    async run(state, answer) {
      await this.ready();
      const at = locate(state);
      const own = engine && state.users.some((u) => typeof u.person !== "string"); // whose scores are not there
      if (at && !own) return fromAtlas(state, at, answer);
      if (engine) return fromModel(state, answer);
      throw new Error("This was not worked out beforehand: it takes the model here.");
    },
    /** Every step of the chain, in pictures; null where the model is not here. */
    steps: (state, how) => (engine ? round(state, { ...how, frames: true }) : null),
    /** For each value of the latent the bits that arrive wrong at a device. */
    async flips(state, user) {
      const { flipBits } = await script("codec"), [, ...shape] = config.latentShape;
      return flipBits(new Uint8Array(shape.reduce((a, b) => a * b)), user.bep, state.seed, config.flipStream);
    },
  };
}
