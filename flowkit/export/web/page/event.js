// How events are shown and chosen: pictures, points in the plane, or rows of numbers.

import { format, html } from "./dom.js";
import { picture } from "./images.js";
import { columnText, restored } from "./table.js";

const MAX_ROWS = 40;

export const isPicture = ({ shape }) => shape.length === 3 && (shape[0] === 1 || shape[0] === 3);

/** Whether an event is a point of a map. Of a table, both columns must be numbers. */
export function isPoint({ event: { shape }, preprocessing }) {
  const numbers = !preprocessing || preprocessing.event.every(({ kind }) => kind === "number");
  return shape.length === 1 && shape[0] === 2 && numbers;
}

/** What the page calls an event, one and many. */
export function nameOf(about) {
  if (isPicture(about.event)) return ["picture", "pictures"];
  return isPoint(about) && !about.preprocessing ? ["point", "points"] : ["record", "records"];
}

/** The name of value i of an event. */
export const valueName = ({ preprocessing }, i) => (preprocessing ? preprocessing.event[i].column : `x${i + 1}`);

/** Value i of an event as a number that readers know: in the units of its column. */
export const inUnits = ({ preprocessing }, i, value) => (preprocessing ? restored(preprocessing.event[i], value) : value);

/** The text of value i of an event. */
export function valueText({ preprocessing }, i, value) {
  return preprocessing ? columnText(preprocessing.event[i], restored(preprocessing.event[i], value)) : format(value);
}

/** The numbers that black and white stand for. */
export const shades = ({ event, range }) => (event.levels ? [0, event.levels - 1] : range);

/** An element that shows one event. */
export function shown(values, about, label) {
  if (isPicture(about.event)) return picture(values, about.event.shape, shades(about), label);
  return table(["", "value"], Array.from(values, (value, i) => [valueName(about, i), valueText(about, i, value)]));
}

export function table(heads, rows) {
  const cells = (tag, texts) => html("tr", {}, ...texts.map((text) => html(tag, {}, text)));
  const body = rows.slice(0, MAX_ROWS).map((row) => cells("td", row));
  const rest = rows.length - MAX_ROWS;
  const last = rest > 0 ? [html("caption", {}, `and ${rest} more`)] : [];
  return html("table", {}, ...last, html("thead", {}, cells("th", heads)), html("tbody", {}, ...body));
}

/** Fills `place` with a choice of the held-out examples; `chosen(index)` is called when it changes. */
export function picker(place, page, name, first, chosen) {
  if (!isPicture(page.about.event)) {
    const options = page.examples.map((_, i) => html("option", { value: i }, `example ${i + 1}`));
    const select = html("select", { id: `${place.id}-input`, "aria-label": name }, ...options);
    select.value = first;
    select.addEventListener("change", () => chosen(Number(select.value)));
    place.append(select);
    return (index) => (select.value = index ?? "");
  }
  const radios = page.examples.map((_, i) => html("input", { type: "radio", name, value: i }));
  radios[first].checked = true;
  place.append(
    ...radios.map((radio, i) =>
      html("label", { class: "thumb" }, radio, shown(page.examples[i], page.about, `example ${i + 1}`)),
    ),
  );
  place.addEventListener("change", (change) => chosen(Number(change.target.value)));
  return (index) => radios.forEach((radio, i) => (radio.checked = i === index));
}
