// From the file of a photograph to its pixels, as `regnet_tf.Preprocessing` decodes it.

const PNG = 0x89504e47;
const PNG_EXIF = 0x65584966; // "eXIf"
const JPEG = 0xffd8;
const JPEG_EXIF = 0xffe1;
const JPEG_PIXELS = 0xffda;

// Returns a file without its EXIF metadata. Chromium turns images by it, whatever it is asked for.
async function withoutExif(file) {
  const buffer = await file.arrayBuffer();
  const view = new DataView(buffer);
  const isPng = buffer.byteLength > 8 && view.getUint32(0) === PNG;
  const isJpeg = buffer.byteLength > 8 && view.getUint16(0) === JPEG;
  const parts = [];
  let [from, at] = [0, isPng ? 8 : 2];
  while ((isPng || isJpeg) && at + 12 <= buffer.byteLength) {
    const kind = isPng ? view.getUint32(at + 4) : view.getUint16(at);
    if (isJpeg && (kind < 0xff00 || kind === JPEG_PIXELS)) break;
    const next = at + (isPng ? 12 + view.getUint32(at) : 2 + view.getUint16(at + 2));
    if (kind === (isPng ? PNG_EXIF : JPEG_EXIF)) {
      parts.push(buffer.slice(from, at));
      from = next;
    }
    at = next;
  }
  return new Blob([...parts, buffer.slice(from)], { type: file.type });
}

// Decodes a file: without its color profile, and turned only if the network wants it.
export async function decoded(file, { exif_orientation: turned, max_pixels: most }) {
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const content = turned ? file : await withoutExif(file);
  const bitmap = await createImageBitmap(content, options).catch(() => {
    throw new Error(`${file.name} is not an image that this browser can read`);
  });
  if (bitmap.width * bitmap.height > most) {
    throw new Error(`${file.name} has more than ${most.toLocaleString("en")} pixels`);
  }
  return bitmap;
}

// Returns a function from a part of a bitmap to the RGBA levels in it.
export function reader(bitmap) {
  return (x, y, width, height) => {
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, -x, -y);
    return context.getImageData(0, 0, width, height).data;
  };
}
