// Events as pictures, and picture files as events. An event is channels first: [c, h, w], c being 1 or 3.

const INK = [
  [13, 22, 45],
  [70, 60, 140],
  [190, 70, 110],
  [250, 160, 60],
  [255, 240, 160],
];

/** A canvas of an event, a pixel a pixel; `spread` is what black and white stand for. */
export function picture(values, [channels, height, width], [black, white], label) {
  const size = height * width;
  return painted(width, height, label, (pixel) => {
    const shade = (channel) => (255 * (values[channel * size + pixel] - black)) / (white - black);
    return channels === 1 ? Array(3).fill(shade(0)) : [shade(0), shade(1), shade(2)];
  });
}

/** A canvas of one number in [0, 1] a pixel, from dark to bright. */
export function heat(shares, height, width, label) {
  return painted(width, height, label, (pixel) => heatColour(shares[pixel]));
}

export function heatColour(share) {
  const place = Math.min(Math.max(share, 0), 1) * (INK.length - 1);
  const index = Math.min(Math.floor(place), INK.length - 2);
  return INK[index].map((low, i) => low + (place - index) * (INK[index + 1][i] - low));
}

function painted(width, height, label, colour) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  const drawing = canvas.getContext("2d");
  const image = drawing.createImageData(width, height);
  for (let pixel = 0; pixel < width * height; pixel += 1) {
    image.data.set([...colour(pixel).map(Math.round), 255], 4 * pixel); // clamps
  }
  drawing.putImageData(image, 0, 0);
  return canvas;
}

const MAX_PIXELS = 1e8; // 400 MB of red, green, blue and opacity

/** A picture file as shades in [0, 1] of shape [c, h, w]: its middle, each pixel the mean of the area it covers. */
export async function readPicture(file, [channels, height, width]) {
  let bitmap;
  await checkSize(file);
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error(`${file.name} is no picture that this browser can read: choose a PNG, JPEG or WebP file.`);
  }
  const side = Math.min(bitmap.width / width, bitmap.height / height); // of the square that becomes one pixel
  const pixels = pixelsOf(bitmap);
  const left = (bitmap.width - side * width) / 2;
  const top = (bitmap.height - side * height) / 2;
  const shades = new Float32Array(channels * height * width);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const colour = meanColour(pixels, left + x * side, top + y * side, side);
      const [red, green, blue] = colour;
      const found = channels === 1 ? [0.299 * red + 0.587 * green + 0.114 * blue] : colour;
      found.forEach((shade, channel) => (shades[(channel * height + y) * width + x] = shade / 255));
    }
  }
  return shades;
}

/** Throws for a picture whose pixels would take too much memory. */
async function checkSize(file) {
  const [width, height] = sides(new DataView(await file.slice(0, 2 ** 20).arrayBuffer()));
  if (width * height > MAX_PIXELS) {
    const size = `${width} × ${height} pixels: at most ${MAX_PIXELS / 1e6} million`;
    throw new Error(`${file.name} is too large, ${size}. Make it smaller.`);
  }
}

/** The width and height in the header of a PNG or JPEG file; otherwise none. */
function sides(view) {
  if (view.byteLength >= 24 && view.getUint32(0) === 0x89504e47) return [view.getUint32(16), view.getUint32(20)];
  let at = view.byteLength > 2 && view.getUint16(0) === 0xffd8 ? 2 : Infinity; // the segments of a JPEG file
  while (at + 9 <= view.byteLength) {
    const marker = view.getUint16(at);
    if (marker >= 0xffc0 && marker <= 0xffc2) return [view.getUint16(at + 7), view.getUint16(at + 5)];
    at += 2 + view.getUint16(at + 2);
  }
  return [0, 0];
}

function pixelsOf(bitmap) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const drawing = canvas.getContext("2d", { willReadFrequently: true });
  drawing.drawImage(bitmap, 0, 0); // what is transparent becomes black
  return drawing.getImageData(0, 0, bitmap.width, bitmap.height);
}

/** The mean red, green and blue of a square; pixels that it covers in part count in part. */
function meanColour({ data, width, height }, left, top, side) {
  const sum = [0, 0, 0];
  let area = 0;
  for (let y = Math.floor(top); y < Math.min(Math.ceil(top + side), height); y += 1) {
    const tall = Math.min(y + 1, top + side) - Math.max(y, top);
    for (let x = Math.floor(left); x < Math.min(Math.ceil(left + side), width); x += 1) {
      const part = tall * (Math.min(x + 1, left + side) - Math.max(x, left));
      const at = 4 * (y * width + x);
      const opacity = data[at + 3] / 255;
      for (let i = 0; i < 3; i += 1) sum[i] += part * opacity * data[at + i];
      area += part;
    }
  }
  return sum.map((value) => value / area);
}
