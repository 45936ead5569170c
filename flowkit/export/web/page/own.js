// An event that the visitor brings: a picture, numbers, or a value for each column of a table.

import { $, format, parseNumbers } from "./dom.js";
import { isPicture, shades } from "./event.js";
import { columnForm } from "./form.js";
import { readPicture } from "./images.js";
import { endsOf, outside } from "./model.js";
import { columnText, encodeEvent, typedEvent } from "./table.js";

/**
 * {fill, type}: `fill` shows an event in the control, `type` also chooses it, of the numbers of a point of the map.
 * `chosen` is called with a function that reads the control.
 */
export function ownEvent(about, chosen) {
  const kind = isPicture(about.event) ? "picture" : about.preprocessing ? "columns" : "numbers";
  for (const other of ["picture", "numbers", "columns"]) if (other !== kind) $(`own-${other}`).remove();
  return { picture: ownPicture, numbers: ownNumbers, columns: ownColumns }[kind](about, chosen);
}

/** A picture that was dropped or chosen, at the event's size and in its shades. */
function ownPicture(about, chosen) {
  let file;
  const take = (files) => {
    [file] = files;
    if (file) chosen(read);
  };
  async function read() {
    const [black, white] = shades(about);
    return (await readPicture(file, about.event.shape)).map((shade) => {
      const value = black + ($("inverted").checked ? 1 - shade : shade) * (white - black);
      return about.event.levels ? Math.round(value) : value;
    });
  }
  $("file").addEventListener("change", () => take($("file").files));
  $("inverted").addEventListener("change", () => file && chosen(read));
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (drag) => {
      drag.preventDefault(); // else the browser leaves for the file
      $("own-picture").classList.toggle("over", kind === "dragover");
      if (kind === "drop") take(drag.dataTransfer.files);
    });
  }
  return { fill: () => {} };
}

/** Numbers that were typed. */
function ownNumbers(about, chosen) {
  const { levels, shape, domain } = about.event;
  const count = shape.reduce((a, b) => a * b, 1);
  $("numbers").addEventListener("change", () =>
    chosen(async () => {
      const numbers = Float32Array.from(parseNumbers($("numbers").value, count, "Your numbers"));
      const bad = levels ? numbers.find((k) => !Number.isInteger(k) || k < 0 || k >= levels) : undefined;
      if (bad !== undefined) throw new Error(`Your numbers: ${bad} is not a whole number from 0 to ${levels - 1}.`);
      const far = numbers.findIndex((value, i) => outside(value, endsOf(domain, i)));
      if (far >= 0) {
        const [low, high] = endsOf(domain, far).map((end, k) => end ?? (k ? "∞" : "−∞"));
        throw new Error(`Your numbers: ${format(numbers[far])} is not between ${low} and ${high}, as all of the data are.`);
      }
      return numbers;
    }),
  );
  const fill = (values) => ($("numbers").value = Array.from(values, (value) => format(value)).join(", "));
  return { fill, type: typing(fill, $("numbers")) };
}

/** The columns of a table. */
function ownColumns({ event: { domain }, preprocessing }, chosen) {
  const columns = preprocessing.event;
  const { element, texts, set } = columnForm("own-columns-input", "Your own values", columns, false);
  element.addEventListener("change", () => chosen(async () => encodeEvent(columns, texts(), domain)));
  $("own-columns").append(element);
  const type = typing((point) => set(point.map((has, i) => columnText(columns[i], has))), element);
  return { fill: (event) => set(typedEvent(columns, event)), type };
}

/** Fills a control, and acts as if its user had done so. */
const typing = (fill, control) => (values) => {
  fill(values);
  control.dispatchEvent(new Event("change"));
};
