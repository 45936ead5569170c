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
  if (preprocessing && !context.classes) return columnsControl(place, preprocessing.context, contexts[0], changed);
  const control = context.classes ? classControl(context, inTurn) : numbersControl(context, contexts[0]);
  place.append(html("label", {}, context.classes ? "Class " : "What the model is told ", control.input));
  if (!context.classes) place.append(html("small", {}, `${counted(context.shape)}, separated by commas or spaces`));
  control.input.id = `${place.id}-input`;
  control.input.addEventListener("change", changed);
  return control;
}

function counted(shape) {
  return shape.length === 2 ? `${shape.join(" × ")} numbers, each vector in a line` : `${product(shape)} numbers`;
}

/** What a class is called. */
export const className = ({ names }, k) => names?.[k] ?? String(k);

function classControl(context, inTurn) {
  const { classes } = context;
  const all = Array.from({ length: classes }, (_, k) => html("option", { value: k }, className(context, k)));
  const input = html("select", {}, ...(inTurn ? [html("option", { value: "" }, "each in turn")] : []), ...all);
  return {
    input,
    rows: (n) => (input.value === "" ? Array.from({ length: n }, (_, i) => [i % classes]) : [[Number(input.value)]]),
    set: ([k]) => (input.value = k),
  };
}

function numbersControl({ shape }, first) {
  const vectors = shape.length === 2; // a set or a sequence: one vector a line
  const typed = { rows: Math.min(shape[0], 8), spellcheck: "false" };
  const input = vectors ? html("textarea", typed) : html("input", { type: "text", inputmode: "decimal" });
  const control = {
    input,
    rows: () => [parseNumbers(input.value, product(shape), "What the model is given")],
    set: (row) => (input.value = vectors ? inLines(row, shape) : row.join(", ")),
  };
  control.set(first);
  return control;
}

function inLines(row, [n, d]) {
  return Array.from({ length: n }, (_, i) => row.slice(i * d, (i + 1) * d).join(", ")).join("\n");
}

function columnsControl(place, columns, first, changed) {
  const { element, texts, set } = columnForm(`${place.id}-input`, "What the model is told", columns, true);
  const control = { rows: () => [encodeContext(columns, texts())], set: (row) => set(typedContext(columns, row)) };
  control.set(first);
  element.addEventListener("change", changed);
  place.append(element);
  return control;
}
