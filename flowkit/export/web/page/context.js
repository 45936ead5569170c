// What a conditional model is told: a class, or some numbers. A control for one card.

import { html, parseNumbers } from "./dom.js";
import { product } from "./model.js";

/** Fills `place` with the control. `inTurn` offers all classes one after the other. */
export function contextControl(place, page, inTurn, changed) {
  const { context, contexts } = page.about;
  if (!context) {
    place.remove();
    return { rows: () => null, set: () => {} };
  }
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
