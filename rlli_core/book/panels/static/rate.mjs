// The form for people: statements about oneself, pictures with a scale each, and a file that is made here and goes nowhere.
import { field, make } from "./common.mjs";

const id = () => `rlli-${Math.random().toString(36).slice(2)}`;

/** A picture over its scale from 0 to `highest`, with no rating at first. */
function scale({ told, picture }, number, highest, changed) {
  const name = id();
  const rates = Array.from({ length: highest + 1 }, (_, value) => {
    const input = make("input", { type: "radio", name, value });
    input.addEventListener("change", changed);
    return make("label", {}, input, make("span", { textContent: value }));
  });
  const element = make("fieldset", { className: "rated" }, make("legend", { textContent: `${number}. asked for: ${told}` }),
    make("img", { src: picture, alt: `picture ${number}`, width: 192, height: 192 }), make("div", { className: "scale" }, ...rates));
  return { element, get: () => element.querySelector("input:checked")?.value ?? "", focus: () => rates[0].firstChild.focus() };
}

function render({ model, el }) {
  const { head, answers, statements, pictures, highest, least } = model.get("config");
  const note = make("p", { className: "note" });
  note.setAttribute("aria-live", "polite");
  const count = (controls) => controls.filter((control) => control.get() !== "").length;
  const tell = () => (note.textContent = `Answered ${count(said)} of ${said.length} statements, rated ${count(rated)} of ${rated.length} pictures.`);

  const said = statements.map(({ told }) => {
    const { element } = field(told, ["choose", ...answers], tell, true), input = element.querySelector("select");
    return { element, get: () => input.selectedIndex || "", focus: () => input.focus() };
  });
  const rated = pictures.map((picture, i) => scale(picture, i + 1, highest, tell));
  const save = make("button", { type: "button", textContent: "Save my answers as a file" });
  save.addEventListener("click", () => {
    const open = said.find((control) => control.get() === "") ?? (count(rated) < least && rated.find((control) => control.get() === ""));
    if (open) {
      tell();
      note.textContent += ` The file needs all statements and ${least} pictures at least; the next open one is marked.`;
      open.focus();
      return;
    }
    const values = [...said, ...rated].map((control) => control.get());
    const text = head + [...statements, ...pictures].map(({ row }, i) => `${row}${values[i]}\n`).join("");
    const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    const number = crypto.getRandomValues(new Uint32Array(1))[0].toString(36);
    make("a", { href: address, download: `ratings-${number}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
    note.textContent = `Saved as ratings-${number}.csv, on this device only. It has your answers and no name.`;
  });
  el.append(make("div", { className: "rlli form" },
    make("fieldset", {}, make("legend", { textContent: "You, as you are now: how accurate is this?" }), ...said.map((c) => c.element)),
    make("p", { className: "hint", textContent: `Each picture was made for the words above it. How satisfied would you be with it if you had asked for that, given how well it is made, how well it shows what was asked for, and your own taste? 0 is not at all, ${highest} completely.` }),
    make("div", { className: "form-pictures" }, ...rated.map((c) => c.element)),
    make("div", { className: "buttons" }, save), note));
  tell();
}

export default { render };
