/**
 * The persona agent: one network looks at a picture, another reads the conversation about it and rates it.
 * `PersonaAgent.score` of the Python package, where nothing is sampled. Runs in the worker.
 */
import { EngineError, UnreadableScore } from "./engine.mjs";

const KEPT = 8; // pictures that stay looked at, so that another person's score of one comes sooner

// As Python has them: what parts words, and a role's name with a colon (where it does not end a longer word).
const SPACE = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const SPACES = new RegExp(`${SPACE}+`, "u");
const ROLES = new RegExp(`(?<![\\p{L}\\p{N}_])(user|assistant|system|human)${SPACE}*:`, "giu");

/**
 * @typedef {object} Settings the entry "agent" of engine.json, made by `export_agent.settings`
 * @property {number[]} tokens the conversation without a prompt, -1 for each digit of the traits
 * @property {number} prompt_at where in it the tokens of a prompt go
 * @property {Record<string, number>} words those of a prompt that the agent gets to read, with their tokens
 * @property {number[]} digits tokens of 0 to 9
 * @property {string[]} reserved
 * @property {number} longest_prompt
 * @property {Record<string, number[]>} people
 * @property {number} least_mass
 * @property {[number, number]} image_size width and height
 */

/** The tokens of a prompt's words that the agent gets to read: `Conversation.quoted`, then its template. */
function promptTokens(prompt, { reserved, longest_prompt: longest, words }) {
  if (typeof prompt !== "string") throw new EngineError(`A prompt must be text, not ${prompt}.`);
  const plain = reserved.reduce((text, word) => text.replaceAll(word, " "), prompt).replace(ROLES, "$1");
  const quoted = [...plain.split(SPACES).filter(Boolean).join(" ")].slice(0, longest).join("");
  const read = (quoted.toLowerCase().match(/[a-z]+/g) ?? []).filter((word) => Object.hasOwn(words, word));
  return read.map((word) => words[word]);
}

/** The five traits of a person who is named or given by them. */
function traitsOf(person, { people }) {
  const traits = typeof person === "string" && Object.hasOwn(people, person) ? people[person] : person;
  if (!(Array.isArray(traits) && traits.length === 5 && traits.every((v) => typeof v === "number" && v >= 0 && v <= 1))) {
    throw new EngineError(
      `The person ${JSON.stringify(person)} is not known: it must be one of ${Object.keys(people).join(", ")}, ` +
        "or a list of five traits from 0 to 1.",
    );
  }
  return traits;
}

/**
 * All that the agent is told about one picture, as tokens; the next one is the rating.
 *
 * @param {string | number[]} person a name, or five traits
 * @param {string} prompt what the person asked for
 * @param {Settings} settings
 * @returns {Int32Array}
 * @throws {EngineError} no such person
 */
export function conversation(person, prompt, settings) {
  const twoDigits = (trait) => `${Math.floor(99 * trait + 0.5)}`.padStart(2, "0");
  const digits = [...traitsOf(person, settings).map(twoDigits).join("")].map((digit) => settings.digits[digit]);
  const told = settings.tokens.map((token) => (token < 0 ? digits.shift() : token));
  told.splice(settings.prompt_at, 0, ...promptTokens(prompt, settings));
  return Int32Array.from(told);
}

/**
 * @param {Float32Array} chances of the ratings 0 to 9, not summing to 1
 * @param {number} leastMass
 * @returns {{value: number, probabilities: number[], mass: number}}
 * @throws {UnreadableScore} the chance that there is a rating at all is below leastMass
 */
export function rate(chances, leastMass) {
  const mass = chances.reduce((a, b) => a + b, 0);
  if (!(mass >= leastMass && mass > 0)) {
    throw new UnreadableScore(`The agent gives a rating with a probability of ${mass.toPrecision(2)} only, so there is no score.`);
  }
  const probabilities = Array.from(chances, (chance) => chance / mass);
  return { value: probabilities.reduce((sum, chance, rating) => sum + chance * rating, 0) / 9, probabilities, mass };
}

export class Agent {
  #seen = []; // {pixels, tokens} of the pictures looked at, the youngest last

  /**
   * @param {object} ort the ONNX runtime
   * @param {{eye: object, mind: object}} sessions
   * @param {Settings} settings
   */
  constructor(ort, sessions, settings) {
    Object.assign(this, { ort, sessions, settings });
  }

  /** What `person`, who asked for `prompt`, thinks of a picture; arguments and result are those of `Engine.score`. */
  async score(image, person, prompt) {
    const [width, height] = this.settings.image_size;
    if (!(image instanceof ImageData && image.width === width && image.height === height)) {
      throw new EngineError(`The agent looks at ImageData of ${width} × ${height} pixels only.`);
    }
    const told = conversation(person, prompt, this.settings);
    if (told.length === this.settings.tokens.length) {
      throw new UnreadableScore("The prompt names nothing that the agent knows, so there is no score.");
    }
    const tokens = new this.ort.Tensor("int32", told, [1, told.length]);
    const { output } = await this.sessions.mind.run({ tokens, seen: await this.#look(image) });
    return rate(output.data, this.settings.least_mass);
  }

  /** The image tokens of a picture. */
  async #look({ data, width, height }) {
    const pixels = new Uint8Array(data.buffer);
    let found = this.#seen.find((one) => one.pixels.every((value, i) => value === pixels[i]));
    if (!found) {
      const picture = new this.ort.Tensor("uint8", pixels, [1, height, width, 4]);
      found = { pixels, tokens: (await this.sessions.eye.run({ picture })).output };
    }
    this.#seen = [...this.#seen.filter((one) => one !== found), found].slice(-KEPT);
    return found.tokens;
  }
}
