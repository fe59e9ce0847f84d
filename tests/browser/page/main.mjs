// Functions that the tests call: `load` opens a file, `answer` runs it, `measure` times it.
import * as runtimes from "./runtimes.mjs";

let network;
let photographs;

/** Opens a file in a runtime, and photographs; returns what the runtime says of the file. */
async function load({ runtime, file, options, images }) {
  photographs = await Promise.all(images.map(photograph));
  network = await runtimes[runtime](file, options);
  return network.facts ?? {};
}

/** Returns the outputs for every photograph, as arrays. */
async function answer() {
  const answers = [];
  for (const one of photographs) {
    answers.push(Array.from(await network.run(one)));
  }
  return answers;
}

/** Returns the milliseconds of a call, the mean over calls of at least `seconds` seconds. */
async function measure(seconds) {
  await network.run(photographs[0]);
  const start = performance.now();
  let calls = 0;
  let passed;
  do {
    await network.run(photographs[calls % photographs.length]);
    calls += 1;
    passed = performance.now() - start;
  } while (passed < 1000 * seconds);
  return passed / calls;
}

/** Returns the names of the devices of WebGPU and of WebNN, each null without one. */
async function devices() {
  const adapter = await navigator.gpu?.requestAdapter();
  const webgpu = adapter ? `${adapter.info.vendor} ${adapter.info.architecture}` : null;
  const webnn = await navigator.ml?.createContext().then(() => "CPU", () => null);
  return { webgpu, webnn: webnn ?? null };
}

/** Returns a photograph as the pixels of a file and as its levels, RGB. */
async function photograph(url) {
  const blob = await (await fetch(url)).blob();
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  const levels = new Uint8Array((data.length / 4) * 3).map((_, i) => data[i + Math.floor(i / 3)]);
  return { bitmap, levels };
}

window.client = { devices, load, answer, measure };
