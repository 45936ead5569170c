// Elements made in one line, and work that keeps the page usable.

export const $ = (id) => document.getElementById(id);

export function html(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A function that does `work` for a card, one call at a time; of the calls made meanwhile only the last counts. */
export function latest(card, work) {
  let running = false;
  let again = false;
  return async function run() {
    again = true;
    if (running) return;
    running = true;
    card.setAttribute("aria-busy", "true");
    while (again) {
      again = false;
      await work().then(() => complain(card, ""), (error) => complain(card, error.message));
    }
    running = false;
    card.removeAttribute("aria-busy");
  };
}

function complain(card, text) {
  card.querySelector(".complaint").textContent = text;
}

/** Lets the browser draw before what follows keeps it busy. */
export function breathe() {
  return new Promise((resolve) => setTimeout(resolve));
}

const RAISED = Object.fromEntries([..."-0123456789"].map((sign, i) => [sign, [..."⁻⁰¹²³⁴⁵⁶⁷⁸⁹"][i]]));

/** A number as people write it. */
export function format(number, digits = 4) {
  if (number === 0 || !Number.isFinite(number)) return String(number);
  const size = Math.abs(number);
  if (size >= 1e-3 && size < 1e6) return String(Number(number.toPrecision(digits)));
  const [digit, power] = number.toExponential(1).split("e");
  return `${digit} × 10${[...power.replace("+", "")].map((sign) => RAISED[sign]).join("")}`;
}

/** The numbers in a text, separated by spaces, commas or semicolons. Throws an Error that says what is wanted. */
export function parseNumbers(text, count, what) {
  const words = text.split(/[\s,;]+/).filter((word) => word !== "");
  const numbers = words.map(Number);
  const bad = words[numbers.findIndex((number) => !Number.isFinite(Math.fround(number)))];
  if (bad !== undefined) throw new Error(`${what}: “${bad}” is not a number, or too large for one.`);
  if (numbers.length !== count) {
    throw new Error(`${what}: ${count} ${count === 1 ? "number is" : "numbers are"} wanted, not ${numbers.length}.`);
  }
  return numbers;
}
