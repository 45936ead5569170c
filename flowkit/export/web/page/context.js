// What a conditional model is told: a class, some numbers, or columns of a table. A control for one card.

import { html, parseNumbers } from "./dom.js";
import { columnForm } from "./form.js";
import { product } from "./model.js";
import { encodeContext, typedContext } from "./table.js";

/** Fills `place` with the control. `inTurn` offers all classes one after the other. */
export function contextControl(place, page, inTurn, changed) {
  const { context, contexts, preprocessing } = page.about;
  if (!context) {
    place.remove();
    return { rows: () => null, set: () => {} };
  }
  if (preprocessing) return columnsControl(place, preprocessing.context, contexts[0], changed);
  const control = context.classes ? classControl(context.classes, inTurn) : numbersControl(context, contexts[0]);
  place.append(html("label", {}, context.classes ? "Class " : "Given ", control.input));
  if (!context.classes) place.append(html("small", {}, `What the model is told: ${control.count} numbers.`));
  control.input.id = `${place.id}-input`;
  control.input.addEventListener("change", changed);
  return control;
}

function classControl(classes, inTurn) {
  const numbers = Array.from({ length: classes }, (_, k) => html("option", { value: k }, String(k)));
  const input = html("select", {}, ...(inTurn ? [html("option", { value: "" }, "each in turn")] : []), ...numbers);
  return {
    input,
    rows: (n) => (input.value === "" ? Array.from({ length: n }, (_, i) => [i % classes]) : [[Number(input.value)]]),
    set: ([k]) => (input.value = k),
  };
}

function numbersControl(context, first) {
  const count = product(context.shape);
  const input = html("input", { type: "text", inputmode: "decimal", value: first.join(", ") });
  return {
    input,
    count,
    rows: () => [parseNumbers(input.value, count, "What the model is given")],
    set: (row) => (input.value = row.join(", ")),
  };
}

function columnsControl(place, columns, first, changed) {
  const { element, texts, set } = columnForm(`${place.id}-input`, "What the model is told", columns, true);
  const control = { rows: () => [encodeContext(columns, texts())], set: (row) => set(typedContext(columns, row)) };
  control.set(first);
  element.addEventListener("change", changed);
  place.append(element);
  return control;
}
