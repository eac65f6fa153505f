// The chain as moments that one can play and scrub, and the state of the controls as an address.
import { longestOf, shares } from "./sources.mjs";

/**
 * @typedef {object} Moment
 * @property {string} text
 * @property {Drawing | null} sent
 * @property {(Drawing | null)[]} received one a device, as are images
 * @property {(Drawing | null)[]} images null where the device has not begun
 * @property {(Uint8Array | null)[] | null} flips bits that arrive wrong just now
 */

/**
 * What happens in a round, in order: the server's steps, the hand-off with its wrong bits, the jump of a device that starts
 * elsewhere, the devices' steps. Without the model only the ends of these are known.
 *
 * @param {object} made what the model made of every step, or null
 * @param {(Uint8Array | null)[]} flips one a device, as far as they are known
 * @returns {Moment[]}
 */
export function momentsOf(state, shown, made, flips, config) {
  const { users, sharedSteps } = state, none = users.map(() => null), moments = [];
  const add = (text, more) => moments.push({ text, sent: shown.sent, received: none, images: none, flips: null, ...more });
  const received = longestOf(state) ? shown.users.map((one) => one.received ?? null) : none;
  const name = (k) => `device ${k + 1}`;
  if (longestOf(state)) {
    const seen = made?.sent.frames ?? [{ image: shown.sent }];
    seen.forEach(({ timestep, image }, i) => add(timestep === undefined ? `The server has taken ${sharedSteps} shared steps.`
      : `Server, step ${i + 1} of ${sharedSteps}, at timestep ${timestep}.`, { sent: image }));
    const wrong = shown.users.map(({ flipped }, k) => {
      const count = flipped ?? flips[k]?.flippedBits;
      return shares(state, users[k]) && count !== undefined ? `${name(k)}: ${count} of ${config.payloadBits} bits wrong` : null;
    }).filter(Boolean);
    const said = `Hand-off: ${wrong.join("; ") || "the bits go over the air"}.`;
    add(said, { received, flips: flips.map((one) => one?.codes ?? null) });
    const jumps = users.map((u, k) => {
      const { lowest } = shown.users[k], from = u.restart === null ? null : Math.max(u.restart, lowest ?? 0);
      if (!shares(state, u)) return u.restart === null ? null : `${name(k)} is alone and starts late, at timestep ${u.restart}`;
      if (from !== null && from > lowest) return `${name(k)} adds fresh noise, back to timestep ${from}`;
      if (state.receiver === config.receivers[0] || !u.bep || lowest === null) return null;
      return `${name(k)} jumps to timestep ${lowest}, which has the noise of what arrived`;
    }).filter(Boolean);
    if (jumps.length) add(`${jumps.join("; ")}.`.replace(/^d/, "D"), { received });
  }
  if (made) {
    const most = Math.max(...users.map((u) => u.deviceSteps));
    for (let i = 1; i <= most; i++) {
      const frames = made.devices.map((device) => device.frames[Math.min(i, device.frames.length) - 1]);
      const places = frames.map(({ timestep }, k) => (i > made.devices[k].frames.length ? "done" : `at ${timestep}`));
      add(`Own step ${i} of ${most}: ${places.map((place, k) => `${name(k)} ${place}`).join(", ")}.`,
        { received, images: frames.map(({ image }) => image) });
    }
  }
  add("The pictures are there and judged.", { received, images: shown.users.map((one) => one.image?.picture ?? null) });
  return moments;
}

const SPLIT = "|";

/** The whole state as the part of an address after "#". */
export function toAddress(state) {
  const each = (tell) => state.users.map(tell).join(SPLIT);
  return new URLSearchParams({
    draws: state.serverPrompt, t0: state.sharedSteps, channel: state.channel, seed: state.seed, receiver: state.receiver,
    wants: each((u) => u.prompt), steps: each((u) => u.deviceSteps), errors: each((u) => +u.bep.toPrecision(6)),
    start: each((u) => u.restart ?? ""), judge: each((u) => (typeof u.person === "string" ? u.person : u.person.join("_"))),
    alone: each((u) => (u.alone ? 1 : 0)),
  }).toString();
}

/** The state that an address tells; what it does not tell, or not in a way that can be, is as at the start. */
export function fromAddress(text, config) {
  const told = new URLSearchParams(text), { start } = config, people = Object.keys(config.people);
  const number = (value, low, high, other, whole = true) => {
    const found = value === null || value === undefined || value === "" ? NaN : Number(value);
    return found >= low && found <= high && (!whole || Number.isInteger(found)) ? found : other;
  };
  const list = (name) => told.get(name)?.split(SPLIT) ?? [];
  const [wants, steps, errors, starts, judges, alone] = ["wants", "steps", "errors", "start", "judge", "alone"].map(list);
  const count = Math.min(4, Math.max(2, wants.length, steps.length)); // two to four devices
  const person = (text, other) => {
    const traits = (text ?? "").split("_").map(Number);
    if (traits.length === config.traits.length && traits.every((v) => v >= 0 && v <= 1)) return traits;
    return people.includes(text) ? text : other;
  };
  return {
    serverPrompt: told.get("draws") ?? start.serverPrompt,
    sharedSteps: number(told.get("t0"), 0, config.maxSharedSteps, start.sharedSteps),
    channel: number(told.get("channel"), 0, config.channels.length - 1, start.channel),
    seed: number(told.get("seed"), 0, 2 ** 31, start.seed),
    receiver: config.receivers.includes(told.get("receiver")) ? told.get("receiver") : start.receiver,
    users: Array.from({ length: count }, (_, k) => {
      const before = userAt(k, start.users, config);
      return {
        prompt: wants[k] ?? before.prompt, deviceSteps: number(steps[k], 1, config.maxDeviceSteps, before.deviceSteps),
        bep: number(errors[k], 0, 0.5, before.bep, false),
        restart: k < starts.length ? number(starts[k], 0, 999, null) : before.restart,
        person: person(judges[k], before.person), alone: k < alone.length ? alone[k] === "1" : before.alone,
      };
    }),
  };
}

/** The k-th of the devices; where there are fewer, one that is like the last but somebody else's. */
export const userAt = (k, users, config) =>
  users[k] ?? { ...users.at(-1), person: Object.keys(config.people)[k] ?? users.at(-1).person };
