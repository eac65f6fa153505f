// What the explorer's screen is made of: controls, pictures, bars.
import { html, useEffect, useRef } from "./preact.mjs";
import { nearest } from "./sources.mjs";

const SIDE = 128; // pixels of a picture

/** Whole numbers from `low` to `high`. */
export const counts = (low, high) => Array.from({ length: high - low + 1 }, (_, i) => low + i);
export const percent = (value) => `${(100 * value).toPrecision(value && value < 0.1 ? 2 : 3).replace(/\.?0+$/, "")} %`;
export const digits = (value) => `${value >= 100 ? Math.round(value) : +value.toPrecision(3)}`;
export const dbw = (watts) => 10 * Math.log10(watts);
export const score = (value) => (value === undefined ? "…" : value === null ? "no rating" : value.toFixed(2));

/**
 * A labelled slider over `values`; `marks` are those that were worked out. If `held`, it goes from mark to mark. A value that
 * is not among the slider's own is told as it is, with the thumb at the nearest.
 */
export function Slider({ label, title, values, value, marks, held, show, set, disabled }) {
  const at = values.indexOf(nearest(values, value)), last = values.length - 1;
  const places = (marks ?? []).map((mark) => values.indexOf(mark)).filter((place) => place >= 0);
  const move = (event) => {
    let to = Number(event.target.value);
    if (held && !places.includes(to)) {
      const ahead = places.filter((place) => (to > at ? place > at : place < at)); // an arrow key moves by one place
      to = ahead.length ? ahead.reduce((a, b) => (Math.abs(b - to) < Math.abs(a - to) ? b : a)) : at;
    }
    event.target.value = to;
    if (to !== at) set(values[to]);
  };
  const text = show(value);
  return html`<label class="slider" title=${title}><span>${label}</span>
    <span class="track">${places.map((place) => html`<i style=${`--at: ${last ? place / last : 0}`} />`)}
      <input type="range" min="0" max=${last} step="1" value=${at} aria-valuetext=${text} disabled=${disabled}
        onInput=${move} />
    </span><output>${text}</output></label>`; // after the input: a label names the first of both
}

/** A text of the reader's, with suggestions; a full stop is no word of a prompt. */
export function Words({ label, value, suggestions, set }) {
  const id = useRef(`rlli-${Math.random().toString(36).slice(2)}`).current;
  const change = (event) => set(event.target.value.trim().replace(/[.!?]+$/, ""));
  return html`<label class="words"><span>${label}</span>
    <input type="text" autocomplete="off" spellcheck=${false} value=${value} list=${id} onChange=${change} />
    <datalist id=${id}>${[...new Set(suggestions)].map((one) => html`<option value=${one} />`)}</datalist></label>`;
}

export function Choice({ label, title, value, options, set }) {
  return html`<label class="words" title=${title}><span>${label}</span>
    <select value=${value} onInput=${(event) => set(event.target.value)}>
      ${options.map(([key, name]) => html`<option value=${key} selected=${key === value}>${name}</option>`)}
    </select></label>`;
}

export function Switch({ label, title, value, set }) {
  return html`<label class="switch" title=${title}>
    <input type="checkbox" role="switch" checked=${value}
      onInput=${(event) => set(event.target.checked)} /><span>${label}</span></label>`;
}

function draw(canvas, picture, flips, shape) {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, SIDE, SIDE);
  if (picture instanceof ImageData) context.putImageData(picture, 0, 0);
  else if (picture) context.drawImage(picture.image, picture.x, picture.y, picture.side, picture.side, 0, 0, SIDE, SIDE);
  if (!flips) return;
  const [, channels, height, width] = shape, high = SIDE / height, wide = SIDE / width;
  for (let cell = 0; cell < height * width; cell++) { // the worst error of the values that lie on one another
    const worst = Math.max(...counts(0, channels - 1).map((c) => flips[c * height * width + cell]));
    context.fillStyle = `rgba(213, 94, 0, ${worst ? 0.25 + (0.65 * worst) / 255 : 0})`;
    context.fillRect((cell % width) * wide + 1, Math.floor(cell / width) * high + 1, wide - 2, high - 2);
  }
}

/** A picture that a click enlarges. */
export function Picture({ picture, label, children, flips, shape, enlarge, className = "" }) {
  const canvas = useRef(null);
  useEffect(() => draw(canvas.current, picture, flips, shape), [picture, flips]);
  return html`<figure class=${className}>
    <button type="button" class="picture" disabled=${!picture} title="Enlarge" onClick=${() => enlarge({ picture, label })}>
      <canvas ref=${canvas} width=${SIDE} height=${SIDE} role="img" aria-label=${label} /></button>
    <figcaption>${children}</figcaption></figure>`;
}

/** A value as a bar that tells it. */
export const Bar = ({ part, text, kind = "" }) =>
  html`<span class=${`bar ${kind}`} style=${`--part: ${Math.min(1, Math.max(0, part || 0))}`}><b>${text}</b></span>`;

/** One measure of this round above the same of everyone alone. */
export function Versus({ name, now, alone, most, tell, title }) {
  const text = (value) => (Number.isFinite(value) ? tell(value) : "…");
  return html`<div title=${title}><span>${name}</span>
    <${Bar} part=${now / most} text=${text(now)} kind="now" /><${Bar} part=${alone / most}
      text=${`${text(alone)} alone`} /></div>`;
}
