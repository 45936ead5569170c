// What lies between two examples.

import { $, html, latest } from "./dom.js";
import { contextControl } from "./context.js";
import { isPicture, isPoint, picker, shown, table, valueName, valueText } from "./event.js";
import { plane, rowsOf } from "./samples.js";

const STOPS = Array.from({ length: 9 }, (_, i) => i / 8);

export function startBetween(page) {
  const card = $("between");
  const { about, examples, model } = page;
  const ends = { from: 0, to: Math.min(1, examples.length - 1) };
  const draw = latest(card, async () => {
    const t = Number($("way").value);
    $("way-shown").textContent = `${Math.round(100 * t)} %`;
    const [a, b] = [examples[ends.from], examples[ends.to]];
    const x = model.values(await model.interpolate(a, b, [t, ...STOPS], context.rows()));
    const [here, ...stops] = rowsOf(x, model.size);
    $("walked").replaceChildren(...betweenView(a, here, b, stops, page));
  });
  const context = contextControl($("between-context"), page, false, draw);
  const choose = (end) => (index) => {
    ends[end] = index;
    if (end === "from" && about.contexts) context.set(about.contexts[index]);
    draw();
  };
  picker($("from"), page, "first", ends.from, choose("from"));
  picker($("to"), page, "second", ends.to, choose("to"));
  if (about.contexts) context.set(about.contexts[ends.from]);
  $("way").addEventListener("input", draw);
  return draw();
}

function betweenView(a, here, b, stops, { about, examples }) {
  if (isPicture(about.event)) {
    const pictures = [a, here, b].map((values, i) => shown(values, about, ["first", "blend", "second"][i]));
    const strip = stops.map((values, i) => shown(values, about, `after ${i} of ${stops.length - 1} steps`));
    return [html("div", { class: "triple" }, ...pictures), html("div", { class: "strip" }, ...strip)];
  }
  if (isPoint(about)) {
    const layers = [
      { points: examples, kind: "real" },
      { points: stops, kind: "path" },
      { points: [a, b], kind: "end" },
      { points: [here], kind: "mark" },
    ];
    const at = Array.from(here, (value, i) => valueText(about, i, value)).join(", ");
    return [plane(layers, examples, about, `at ${at}, between two points`)];
  }
  const rows = Array.from(here, (value, i) => [
    valueName(about, i),
    ...[a[i], value, b[i]].map((each) => valueText(about, i, each)),
  ]);
  return [table(["", "first", "blend", "second"], rows)];
}
