// A form with a field for each of some columns of a table.

import { html } from "./dom.js";

/** {element, texts, set}: a fieldset, what its fields hold, and what fills them. Only in a context a field may be empty. */
export function columnForm(id, legend, columns, inContext) {
  const fields = columns.map((column, i) => columnField(column, `${id}-${i}`));
  const labels = columns.map((column, i) =>
    html("label", {}, html("span", {}, column.column), fields[i], ...note(column, inContext)),
  );
  const grid = html("div", { class: "fields" }, ...labels);
  return {
    element: html("fieldset", { id, class: "form" }, html("legend", {}, legend), grid),
    texts: () => fields.map((field) => field.value),
    set: (texts) => fields.forEach((field, i) => (field.value = texts[i])),
  };
}

function columnField(column, id) {
  if (column.kind !== "category") return html("input", { id, type: "text", autocomplete: "off" });
  const options = column.categories.map((name) => html("option", { value: name ?? "" }, name ?? "missing"));
  return html("select", { id }, ...options);
}

/** What may be typed, where it isn't any number. */
function note({ kind, offset, scale, fill }, inContext) {
  const steps = offset === 0 && scale === 1 ? "a whole number" : `in steps of ${scale}`;
  const notes = [
    ...(kind === "integer" ? [steps] : []),
    ...(kind === "time" ? ["like 2013-01-31"] : []),
    ...(inContext && kind !== "category" && fill !== null ? ["may stay empty"] : []),
  ];
  return notes.length ? [html("small", {}, notes.join("; "))] : [];
}
