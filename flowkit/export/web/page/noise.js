// Noise that is a pure function of (seed, stream, position): the same numbers as flowkit_runtime.noise gives.
//
// Block i of a stream is philox4x32_10(counter = (i mod 2^32, i div 2^32, stream, 0), key = seed): four words, which
// make two uniforms of 23 bits or, by Box and Muller, two normals. Element j is number (j mod 2) of block (j div 2).

export const DEQUANTIZATION_STREAM = 2 ** 31;

export const MAX_SEED = 2n ** 64n - 1n;

/** Philox4x32-10 of Salmon et al. (2011): four words of 32 bits from a counter of four and a key of two. */
export function philox4x32([c0, c1, c2, c3], [k0, k1]) {
  for (let round = 0; round < 10; round += 1) {
    const high0 = upperHalf(0xd2511f53, c0);
    const high1 = upperHalf(0xcd9e8d57, c2);
    const low0 = Math.imul(0xd2511f53, c0);
    const low1 = Math.imul(0xcd9e8d57, c2);
    [c0, c1, c2, c3] = [high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0];
    k0 = (k0 + 0x9e3779b9) | 0;
    k1 = (k1 + 0xbb67ae85) | 0;
  }
  return [c0 >>> 0, c1 >>> 0, c2 >>> 0, c3 >>> 0];
}

/** The upper 32 bits of a product of two 32-bit words, by halves: no partial sum exceeds 2^53. */
function upperHalf(a, b) {
  const [aHigh, aLow, bHigh, bLow] = [a >>> 16, a & 0xffff, b >>> 16, b & 0xffff];
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const other = aLow * bHigh + (middle & 0xffff);
  return aHigh * bHigh + (middle >>> 16) + (other >>> 16);
}

/** `count` uniforms (k + 1/2) / 2^23, from flat index `first` of the stream. `seed` is a BigInt in [0, 2^64). */
export function uniform(seed, stream, count, first = 0) {
  return draw(seed, stream, count, first, (w0, w1, w2) => [middleOfCell(w0), middleOfCell(w2)]);
}

/** `count` standard normals; arguments as for uniform. */
export function normal(seed, stream, count, first = 0) {
  return draw(seed, stream, count, first, (...words) => {
    const [u0, u1] = [unitInterval(words[0], words[1]), unitInterval(words[2], words[3])];
    const radius = Math.sqrt(-2 * Math.log(1 - u0));
    return [radius * Math.cos(2 * Math.PI * u1), radius * Math.sin(2 * Math.PI * u1)];
  });
}

function draw(seed, stream, count, first, transform) {
  const key = [Number(seed & 0xffffffffn), Number(seed >> 32n)];
  const values = new Float64Array(count);
  const firstBlock = Math.floor(first / 2);
  for (let block = firstBlock; 2 * block < first + count; block += 1) {
    const pair = transform(...philox4x32([block % 2 ** 32, Math.floor(block / 2 ** 32), stream, 0], key));
    const at = 2 * block - first;
    if (at >= 0) values[at] = pair[0];
    if (at + 1 < count) values[at + 1] = pair[1];
  }
  return values;
}

function middleOfCell(word) {
  return ((word >>> 9) + 0.5) / 2 ** 23;
}

function unitInterval(high, low) {
  return ((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53;
}
