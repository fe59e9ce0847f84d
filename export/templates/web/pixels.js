// From a photograph's pixels to the network's input, as `regnet_tf.Preprocessing` does it.
// Every level equals Pillow's: two passes with weights of 22 bits, each rounded to 8 bits.

const BITS = 22;

const triangle = (x) => Math.max(1 - Math.abs(x), 0);

function cubic(distance) {
  // Keys' kernel with a = -0.5. The order of operations is Pillow's, so the last bit agrees.
  const x = Math.abs(distance);
  const a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

// Pillow widens the kernel to shrink an image (antialiasing), and rounds to 8 bits; pycls does not.
const KERNELS = {
  bilinear: { weight: triangle, radius: 1, pillow: true },
  bicubic: { weight: cubic, radius: 2, pillow: true },
  pycls: { weight: triangle, radius: 1, pillow: false },
};

// Returns where the crop begins in a side that is `surplus` longer; negative means padding.
function offsetOf(surplus, pillow) {
  const half = surplus / 2;
  if (surplus < 0 || !pillow) return Math.ceil(half);
  const down = Math.floor(half);
  return half === down ? down : down + (down % 2); // a half is rounded to the even number
}

// Returns how one axis is resampled: the samples `first` to `stop` of the photograph that are read,
// and for each sample of the crop the `start` of its window and the window's `weights`. The crop is
// what lies between `low` and `high` in the photograph.
function axisOf(size, resized, crop, { weight, radius, pillow }) {
  const scale = size / resized;
  const stretch = pillow ? Math.max(scale, 1) : 1;
  const offset = offsetOf(resized - crop, pillow);
  const windows = [];
  for (let index = offset; index < offset + crop; index++) {
    if (index < 0 || index >= resized) {
      windows.push({ start: 0, weights: [] }); // padding: the sum of nothing
      continue;
    }
    const center = (index + 0.5) * scale;
    const start = Math.max(Math.trunc(center - radius * stretch + 0.5), 0);
    const stop = Math.min(Math.trunc(center + radius * stretch + 0.5), size);
    const weights = Float64Array.from({ length: stop - start }, (_, tap) =>
      weight((start + tap - center + 0.5) * (1 / stretch)));
    const sum = weights.reduce((one, other) => one + other);
    windows.push({ start, weights: weights.map((one) => rounded(one / sum, pillow)) });
  }
  const some = windows.filter(({ weights }) => weights.length);
  const first = Math.min(...some.map(({ start }) => start));
  const stop = Math.max(...some.map(({ start, weights }) => start + weights.length));
  return { windows, first, stop, size: stop - first, pillow,
           low: offset * scale, high: (offset + crop) * scale };
}

function rounded(weight, pillow) {
  return pillow ? Math.sign(weight) * Math.floor(Math.abs(weight) * 2 ** BITS + 0.5) : weight;
}

// Resamples `(outer, size, inner)` along the second axis to `(outer, windows, inner)`.
function resample(source, outer, inner, { windows, first, size, pillow }) {
  const result = new (pillow ? Uint8ClampedArray : Float64Array)(outer * windows.length * inner);
  let target = 0;
  for (let line = 0; line < outer; line++) {
    for (const { start, weights } of windows) {
      const from = (line * size + start - first) * inner;
      for (let one = 0; one < inner; one++) {
        let sum = 0;
        for (let tap = 0, at = from + one; tap < weights.length; tap++, at += inner) {
          sum += source[at] * weights[tap];
        }
        result[target++] = pillow ? (sum + (1 << (BITS - 1))) >> BITS : sum;
      }
    }
  }
  return result;
}

// Returns levels of R, G and B, or gray levels with Pillow's weights, without transparency.
function withChannels(rgba, channels) {
  const count = rgba.length / 4;
  const levels = new Uint8Array(count * channels);
  for (let pixel = 0, from = 0, to = 0; pixel < count; pixel++, from += 4) {
    if (channels === 1) {
      const sum = rgba[from] * 19595 + rgba[from + 1] * 38470 + rgba[from + 2] * 7471;
      levels[to++] = (sum + (1 << 15)) >> 16;
    } else {
      levels[to++] = rgba[from];
      levels[to++] = rgba[from + 1];
      levels[to++] = rgba[from + 2];
    }
  }
  return levels;
}

// Returns how the rows and columns of a photograph are resampled.
export function layoutOf(width, height, preprocessing) {
  const { image_size: crop, crop_fraction: part, resize_size: side } = preprocessing;
  const kernel = KERNELS[preprocessing.interpolation];
  const shorter = side ?? Math.floor(crop / (part ?? 0.875));
  const [newHeight, newWidth] = [height, width].map((one) =>
    Math.floor((one * shorter) / Math.min(width, height)));
  const surplus = [height - newHeight, width - newWidth];
  return {
    rows: axisOf(height, newHeight, crop, kernel),
    columns: axisOf(width, newWidth, crop, kernel),
    rowsAreFirst: surplus[0] >= 0 && surplus[0] > 2 * surplus[1], // Pillow's rule
  };
}

// Returns the network's input, levels of 0 to 255, `(image_size, image_size, channels)`.
// `read(x, y, width, height)` returns the RGBA levels of a part of the photograph.
export function prepare(read, { rows, columns, rowsAreFirst }, channels) {
  const rgba = read(columns.first, rows.first, columns.size, rows.size);
  let levels = withChannels(rgba, channels);
  if (rowsAreFirst) {
    levels = resample(levels, 1, columns.size * channels, rows);
    levels = resample(levels, rows.windows.length, channels, columns);
  } else {
    levels = resample(levels, rows.size, channels, columns);
    levels = resample(levels, 1, columns.windows.length * channels, rows);
  }
  // Levels of pycls are rounded from 32-bit floats, a half to the even number.
  return new Uint8Array(Uint8ClampedArray.from(Float32Array.from(levels)).buffer);
}
