// Plots as SVG; colours come from the style sheet, by class.

import { format, svg } from "./dom.js";

const WIDE = 360;
const LETTER = 6; // the width of one, about

/** [low, high] of numbers, and a little more. */
export function extent(numbers) {
  const finite = numbers.filter(Number.isFinite);
  const low = finite.reduce((a, b) => Math.min(a, b), Infinity);
  const high = finite.reduce((a, b) => Math.max(a, b), -Infinity);
  const margin = 0.05 * (high - low) || 0.5;
  return [low - margin, high + margin];
}

/** [range, bins] for numbers that are a whole number of steps apart: a bin holds as many steps as the others. */
export function steps(numbers, step, most = 30) {
  const finite = numbers.filter(Number.isFinite);
  const low = finite.reduce((a, b) => Math.min(a, b), Infinity);
  const high = finite.reduce((a, b) => Math.max(a, b), -Infinity);
  const count = Math.round((high - low) / step) + 1;
  const together = Math.ceil(count / most);
  const bins = Math.ceil(count / together);
  return [[low - step / 2, low - step / 2 + bins * together * step], bins];
}

/**
 * A map of points in the plane; `layers` are {points: [[x, y], …], kind}, drawn as dots or, for "path", as a line.
 * `clicked` is called with the point of the plane that was clicked; `names` stand at the axes.
 */
export function scatter(layers, [xs, ys], label, clicked, names = ["", ""]) {
  const tall = WIDE;
  const left = Math.max(34, 10 + LETTER * longest(ticks(ys).map((at) => format(at))));
  const top = names[1] ? 20 : 8;
  const floor = tall - (names[0] ? 38 : 24);
  const x = scale(xs, left, WIDE - 8);
  const y = scale(ys, floor, top);
  const plot = frame(tall, label);
  plot.append(...axis(xs, x, floor), ...sideAxis(ys, y, left));
  if (names[0]) plot.append(svg("text", { x: WIDE - 8, y: tall - 6, "text-anchor": "end" }, `${names[0]} →`));
  if (names[1]) plot.append(svg("text", { x: 0, y: 10 }, `↑ ${names[1]}`));
  for (const { points, kind } of layers) {
    const shown = points.filter(([a, b]) => a >= xs[0] && a <= xs[1] && b >= ys[0] && b <= ys[1]);
    if (kind === "path") {
      plot.append(svg("polyline", { class: kind, points: points.map(([a, b]) => `${x(a)},${y(b)}`).join(" ") }));
    } else {
      plot.append(...shown.map(([a, b]) => svg("circle", { class: kind, cx: x(a), cy: y(b), r: 3 })));
    }
  }
  if (clicked) {
    plot.classList.add("clickable");
    plot.addEventListener("click", (click) => {
      const box = plot.getBoundingClientRect();
      const [right, down] = [click.clientX - box.left, click.clientY - box.top].map((at) => (at * WIDE) / box.width);
      clicked([scale([left, WIDE - 8], ...xs)(right), scale([floor, top], ...ys)(down)]);
    });
  }
  return plot;
}

/**
 * Bars of how often numbers fall where; `others` as an outline over them, `marks` as upright lines {at, text, kind}.
 * `text` writes the numbers at the axis.
 */
export function histogram(numbers, others, marks, range, label, bins = 24, text = format) {
  const tall = 130;
  const x = scale(range, 10, WIDE - 10);
  const floor = tall - 24;
  const [bars, outline] = [shares(numbers, range, bins), shares(others, range, bins)];
  const y = scale([0, Math.max(...bars, ...outline, 1e-9)], floor, 26);
  const width = (WIDE - 20) / bins;
  const plot = frame(tall, label);
  bars.forEach((share, i) => {
    const box = { class: "bar", x: 10 + i * width + 0.5, y: y(share), width: width - 1, height: floor - y(share) };
    if (share) plot.append(svg("rect", box));
  });
  if (others.length) {
    const tops = outline.map((share, i) => `${10 + i * width},${y(share)} ${10 + (i + 1) * width},${y(share)}`);
    plot.append(svg("polyline", { class: "outline", points: tops.join(" ") }));
  }
  plot.append(...axis(range, x, floor, text), ...marks.flatMap((mark) => upright(mark, x, floor)));
  return plot;
}

function upright({ at, text, kind }, x, floor) {
  const place = Math.min(Math.max(x(at), 10), WIDE - 10);
  const anchor = place > WIDE - 60 ? "end" : place < 60 ? "start" : "middle";
  const row = kind === "limit" ? 22 : 9;
  return [
    svg("line", { class: kind, x1: place, x2: place, y1: row + 3, y2: floor }),
    svg("text", { class: `${kind} label`, x: place, y: row, "text-anchor": anchor }, text),
  ];
}

function frame(tall, label) {
  return svg("svg", { viewBox: `0 0 ${WIDE} ${tall}`, role: "img", "aria-label": label });
}

function scale([low, high], start, stop) {
  return (value) => start + ((value - low) / (high - low)) * (stop - start);
}

function axis(range, x, floor, text = format) {
  const line = svg("line", { class: "axis", x1: x(range[0]), x2: x(range[1]), y1: floor, y2: floor });
  const all = ticks(range);
  const room = Math.max(1, Math.floor((x(range[1]) - x(range[0])) / (LETTER * longest(all.map((at) => text(at))) + 10)));
  const some = all.filter((_, i) => i % Math.ceil(all.length / room) === 0);
  const texts = some.map((at) => svg("text", { x: x(at), y: floor + 16, "text-anchor": "middle" }, text(at)));
  return [line, ...texts];
}

const longest = (texts) => Math.max(0, ...texts.map((text) => text.length));

function sideAxis(range, y, left) {
  const line = svg("line", { class: "axis", x1: left, x2: left, y1: y(range[0]), y2: y(range[1]) });
  const texts = ticks(range).map((at) => svg("text", { x: left - 5, y: y(at) + 4, "text-anchor": "end" }, format(at)));
  return [line, ...texts];
}

/** Three to six round numbers in a range. */
function ticks([low, high]) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const first = Math.ceil(low / step);
  const count = Math.floor(high / step) - first + 1;
  return Array.from({ length: count }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

function shares(numbers, [low, high], bins) {
  const counts = Array(bins).fill(0);
  for (const number of numbers) {
    const bin = Math.floor(((number - low) / (high - low)) * bins);
    if (bin >= 0 && bin < bins) counts[bin] += 1 / numbers.length;
  }
  return counts;
}
