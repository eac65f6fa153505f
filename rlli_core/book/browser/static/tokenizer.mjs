/**
 * Prompt to tokens, for the words that the model learnt: each of them, and the comma, is one token.
 */
import { EngineError } from "./engine.mjs";

/**
 * @typedef {object} Tokens
 * @property {number} length of every token sequence, the two ends included
 * @property {number} start
 * @property {number} end
 * @property {number} pad
 * @property {Record<string, number>} words
 */

/** The words that prompts may have, in the order of the alphabet. @param {Tokens} tokens @returns {string[]} */
const wordList = (tokens) => Object.keys(tokens.words).filter((word) => word !== ",");

/**
 * The tokens that the model's CLIP tokenizer gives for a prompt of known words; "" means no condition.
 *
 * @param {string} prompt
 * @param {Tokens} tokens
 * @returns {Int32Array} of tokens.length
 * @throws {EngineError} a word that the model did not learn, or too many of them
 */
export function tokenize(prompt, tokens) {
  if (typeof prompt !== "string") throw new EngineError(`A prompt must be text, not ${prompt}.`);
  const words = prompt.normalize("NFC").toLowerCase().match(/\p{L}+|[^\s\p{L}]+/gu) ?? [];
  const unknown = [...new Set(words.filter((word) => !Object.hasOwn(tokens.words, word)))];
  if (unknown.length) {
    throw new EngineError(
      `The model does not know ${unknown.map((word) => `“${word}”`).join(", ")}; it knows ${wordList(tokens).length} words and the comma.`,
    );
  }
  const most = tokens.length - 2;
  if (words.length > most) {
    throw new EngineError(
      `The prompt “${prompt}” has ${words.length} words: at most ${most} are allowed, commas included.`,
    );
  }
  const sequence = new Int32Array(tokens.length).fill(tokens.pad);
  sequence.set([tokens.start, ...words.map((word) => tokens.words[word]), tokens.end]);
  return sequence;
}
