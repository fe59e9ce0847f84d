// The page: a photograph is chosen, the network runs, its classes are shown.

import { decoded, reader } from "./decoding.js";
import { layoutOf, prepare } from "./pixels.js";

const BEST = 5;
const [drop, status, result, picture, classes, note, times, network] = [
  "drop", "status", "result", "picture", "classes", "note", "times", "network",
].map((id) => document.getElementById(id));

function say(text, isError = false) {
  status.textContent = text;
  status.classList.toggle("error", isError);
}

async function fetched(file) {
  const response = await fetch(file);
  if (!response.ok) throw new Error(`${file} is missing on the server`);
  return response;
}

// Loads the network and what is known about it.
async function load() {
  if (typeof WebAssembly === "undefined") throw new Error("this browser has no WebAssembly");
  const [{ preprocessing, independent }, names, bytes, litert] = await Promise.all([
    fetched("facts.json").then((response) => response.json()),
    fetched("labels.txt").then((response) => response.text()),
    fetched(network.getAttribute("href")).then((response) => response.arrayBuffer()),
    import("@litertjs/core"),
  ]);
  await litert.loadLiteRt(new URL("../wasm/", import.meta.resolve("@litertjs/core")).href);
  const model = await litert.loadAndCompile(new Uint8Array(bytes), { accelerator: "wasm" });
  const labels = names.trimEnd().split("\n");
  const loaded = { preprocessing, independent, labels, model, Tensor: litert.Tensor };
  await run(loaded, []); // the first run is slow
  return loaded;
}

// Runs the network on one image; returns its scores and their shape without the batch.
async function run({ model, Tensor }, image) {
  const [{ shape }] = model.getInputDetails();
  const images = new Uint8Array(shape.reduce((one, other) => one * other));
  images.set(image); // the file may want more than one image
  const input = new Tensor(images, [...shape]);
  const [output] = await model.run(input);
  const [count, ...sizes] = output.type.layout.dimensions;
  const scores = await output.data();
  input.delete();
  output.delete();
  return { scores: scores.subarray(0, scores.length / count), sizes };
}

// Shows the photograph; what the network does not see is dimmed. Returns the crop's place.
function draw(bitmap, { rows, columns }) {
  const scale = Math.min(1, 960 / Math.max(bitmap.width, bitmap.height));
  picture.width = Math.max(1, Math.round(bitmap.width * scale));
  picture.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = picture.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, picture.width, picture.height);
  const crop = [columns.low, rows.low, columns.high - columns.low, rows.high - rows.low];
  const place = crop.map((one) => one * scale);
  context.beginPath();
  context.rect(0, 0, picture.width, picture.height);
  context.rect(...place);
  context.fillStyle = "rgb(0 0 0 / 45%)";
  context.fill("evenodd");
  return place;
}

const percent = (part) => `${(100 * part).toFixed(1)} %`;

// Fills the list of classes: `[class, part of 1, color]` each.
function list(rows, labels, present) {
  classes.replaceChildren(...rows.map(([index, part, color]) => {
    const [item, name, bar, value] = ["li", "span", "i", "data"].map((tag) =>
      document.createElement(tag));
    name.textContent = labels[index];
    bar.style.width = `${100 * part}%`;
    value.value = part;
    value.textContent = percent(part);
    item.classList.toggle("present", present(part));
    item.append(bar, name, value);
    if (color) {
      const swatch = document.createElement("b");
      swatch.style.background = `rgb(${color})`;
      name.before(swatch);
    }
    return item;
  }));
}

const ranked = (parts) => [...parts.entries()].sort(([, one], [, other]) => other - one);

function showClasses(scores, { independent, labels }) {
  const isPresent = (part) => independent && part > 0.5;
  const rows = ranked(scores);
  const present = scores.filter(isPresent).length;
  list(rows.slice(0, Math.max(BEST, present)), labels, isPresent);
  note.textContent = independent
    ? "An image can have several classes. Those above 50 % are in bold." : "";
  const told = independent ? rows.slice(0, present) : rows.slice(0, 1);
  return told.map(([index, part]) => `${labels[index]}, ${percent(part)}`).join("; ")
    || "No class is above 50 %";
}

// Colors of classes, far from each other: steps of the golden angle around the circle of hues.
function colorOf(index) {
  const channel = (shift) => {
    const k = (shift + (index * 137.508) / 30) % 12;
    return Math.round(255 * (0.5 - 0.45 * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

// Overlays the best class of each pixel, and lists the classes by their share of the pixels.
function showPixels(scores, [height, width, count], place, { independent, labels }) {
  const shares = new Float64Array(count);
  const overlay = new ImageData(width, height);
  for (let pixel = 0; pixel < width * height; pixel++) {
    const some = scores.subarray(pixel * count, (pixel + 1) * count);
    const best = some.indexOf(some.reduce((one, other) => Math.max(one, other)));
    if (independent && some[best] <= 0.5) continue;
    shares[best] += 1 / (width * height);
    overlay.data.set([...colorOf(best), 140], 4 * pixel);
  }
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(overlay, 0, 0);
  const context = picture.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(canvas, ...place);
  const rows = ranked(shares).filter(([, share]) => share > 0);
  list(rows.map(([index, share]) => [index, share, colorOf(index)]), labels, () => false);
  note.textContent = "Share of the pixels in each class.";
  return rows.slice(0, 1).map(([index, share]) => `${percent(share)} ${labels[index]}`).join("")
    || "No pixel has a class";
}

async function show(file, loaded) {
  say(`Reading ${file.name} …`);
  const { preprocessing } = loaded;
  const bitmap = await decoded(file, preprocessing);
  const started = performance.now();
  const layout = layoutOf(bitmap.width, bitmap.height, preprocessing);
  const image = prepare(reader(bitmap), layout, preprocessing.mean.length);
  const prepared = performance.now();
  const { scores, sizes } = await run(loaded, image);
  const done = performance.now();
  const place = draw(bitmap, layout);
  bitmap.close();
  const told = sizes.length === 3
    ? showPixels(scores, sizes, place, loaded) : showClasses(scores, loaded);
  times.textContent = `Network: ${(done - prepared).toFixed(1)} ms. Resizing:`
    + ` ${(prepared - started).toFixed(1)} ms.`;
  picture.setAttribute("aria-label", file.name);
  result.hidden = false;
  say(`${file.name}: ${told}`);
}

const sentence = (error) => `${error.message || "A script is missing"}.`.replace(/\.+$/, ".");

say("Loading the network …");
const loading = load();
loading.then(
  () => say("Ready. No photograph leaves this device."),
  (error) => say(`The network cannot run: ${sentence(error)}`, true),
);

// One photograph at a time, in the order of their arrival.
let last = loading.catch(() => {});
function choose(files) {
  const [file] = files;
  if (!file) return;
  last = last.then(async () => {
    const loaded = await loading;
    result.hidden = true;
    await show(file, loaded).catch((error) => say(sentence(error), true));
  }).catch(() => {}); // the status says why the network cannot run
}

for (const input of document.querySelectorAll("input")) {
  input.addEventListener("change", () => {
    choose(input.files);
    input.value = ""; // the same file may be chosen again
  });
}
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
document.addEventListener("dragleave", () => drop.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  choose(event.dataTransfer.files);
});
