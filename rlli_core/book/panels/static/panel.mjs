// A panel of a few controls over pictures or tables and a line of text. In JupyterLab and Voila the kernel answers; on the
// built page answer frames that `rlli run` worked out for some places of each control, its stops.
import { asker, field, load, make, onPage, slider } from "./common.mjs";

/** The kernel works out what to show. */
function kernelFrames(model) {
  const ask = asker(model);
  return async (state, signal) => {
    let coming = [];
    const line = await ask({ kind: "run", state }, signal, (answer, buffers) => {
      coming = answer.parts.map(async ({ picture, ...part }) => {
        if (picture < 0) return part;
        const address = URL.createObjectURL(new Blob([buffers[picture]], { type: "image/png" }));
        const image = make("img", { src: address });
        await image.decode().finally(() => URL.revokeObjectURL(address));
        return { ...part, image };
      });
    });
    return { line, parts: await Promise.all(coming) };
  };
}

/** Frames from beside the page, numbered as the products of the stops come. */
function pageFrames({ name, controls }) {
  let index;
  return async (state) => {
    if (!name) throw new Error("Nothing was worked out for these sliders: build the book with make book, or open the page with make lab.");
    const { texts, parts, frames } = await (index ??= load("script", `panels/${name}/index.js`).then(() => globalThis.rlliPanels[name]));
    const [line, ...shown] = frames[controls.reduce((number, c, i) => number * c.stops.length + c.stops.indexOf(state[i]), 0)];
    return { line: texts[line], parts: await Promise.all(shown.map(async (place) => {
      const [picture, width, text, alt] = parts[place];
      const image = picture < 0 ? null : await load("img", `panels/${name}/${picture}.webp`);
      return { image, width, text: texts[text], alt: texts[alt] };
    })) };
  };
}

/** One of the things side by side: a picture with words below it, or words alone. */
function figure({ image, width, text, alt }, line) {
  if (!image) return make("div", { innerHTML: text });
  const caption = make("figcaption", { innerHTML: text });
  const element = make("figure", {}, Object.assign(image, { width, alt: alt || `${caption.textContent} ${line}`.trim() }));
  element.style.width = `${width}px`;
  if (text) element.append(caption);
  return element;
}

function render({ model, el }) {
  const config = model.get("config"), page = onPage();
  const answer = page ? pageFrames(config) : kernelFrames(model);
  const hint = make("p", { className: "hint", id: `rlli-${Math.random().toString(36).slice(2)}` });
  let latest = null; // the request under way
  const controls = config.controls.map(({ label, choice, texts, stops, start }) => {
    const places = page ? stops : texts.map((_, i) => i);
    const told = places.map((i) => texts[i]);
    const control = choice ? field(label, told, () => refresh(), true) : slider(label, places, (i) => texts[i], () => refresh());
    control.set(choice ? texts[start] : start);
    const input = control.element.querySelector("input, select");
    input.disabled = page && places.length === 1 && texts.length > 1;
    if (page && places.length < texts.length) input.setAttribute("aria-describedby", hint.id);
    const get = choice ? () => places[told.indexOf(control.get())] : control.get;
    return { element: control.element, get, fixed: input.disabled, fewer: places.length < texts.length };
  });
  const grey = controls.some((c) => c.fixed) ? ", the grey ones too" : "";
  hint.hidden = !page || !controls.some((c) => c.fewer);
  hint.textContent = `Here the controls go to places that were worked out beforehand. In a live notebook (make lab) they go anywhere${grey}.`;
  const shown = make("div", { className: "shown" });
  const note = make("p", { className: "note" });
  note.setAttribute("aria-live", "polite");
  const box = make("div", { className: "rlli frames" },
    make("fieldset", {}, make("legend", { textContent: "Turn it" }), make("div", { className: "controls" }, ...controls.map((c) => c.element)), hint),
    shown, note);

  async function refresh() {
    latest?.abort();
    const mine = (latest = new AbortController());
    box.classList.add("busy");
    try {
      const { line, parts } = await answer(controls.map((c) => c.get()), mine.signal);
      if (mine.signal.aborted) return;
      note.textContent = line;
      // A place that cannot be, such as more shared steps than steps, has no parts: the line says why, the last picture stays.
      if (parts.length) shown.replaceChildren(...parts.map((part) => figure(part, line)));
    } catch (error) {
      if (!mine.signal.aborted) note.textContent = error.message;
    }
    if (!mine.signal.aborted) box.classList.remove("busy");
  }

  el.append(box);
  refresh();
  return () => latest?.abort();
}

export default { render };
