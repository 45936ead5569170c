// What the page holds in its <script> blocks that no browser runs: JSON, and gzip in base64.

import { $ } from "./dom.js";

export const readAbout = () => JSON.parse($("about").textContent);

/** The bytes of a block, which is removed: it is needed once. */
export async function unpack(id) {
  const block = $(`block-${id}`);
  const text = atob(block.textContent);
  block.remove();
  const packed = Uint8Array.from(text, (character) => character.charCodeAt(0));
  const stream = new Response(packed).body.pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
