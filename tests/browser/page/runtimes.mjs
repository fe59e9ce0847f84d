// Runtimes for browsers. Each opens a file as `{run, facts}`; `run` takes a photograph.

/** LiteRT.js; options: accelerator ("wasm", "webgpu" or "webnn"), threads, device of WebNN. */
export async function litert(file, { accelerator = "wasm", threads = 1, device = "cpu" }) {
  const { loadLiteRt, loadAndCompile, Tensor } = await import("@litertjs/core");
  const jspi = accelerator !== "wasm";
  await loadLiteRt("/packages/@litertjs/core/wasm/", { threads: threads > 1, jspi });
  const model = await loadAndCompile(file, {
    accelerator,
    cpuOptions: { numThreads: threads },
    webNNOptions: { devicePreference: device },
  });
  const [input] = model.getInputDetails();
  const run = async ({ levels }) => {
    const images = new Tensor(levels, Array.from(input.shape));
    const outputs = await model.run([images]);
    const values = await outputs[0].data();
    [images, ...outputs].forEach((tensor) => tensor.delete());
    return values;
  };
  return { run, facts: { fully_accelerated: model.isFullyAccelerated } };
}

/** ONNX Runtime; options: provider ("wasm", "webgpu" or "webnn"), threads, device of WebNN. */
export async function onnxruntime(file, { accelerator = "wasm", threads = 1, device = "cpu" }) {
  const build = accelerator === "wasm" ? "wasm" : "all";
  const folder = "/packages/onnxruntime-web/dist/";
  const ort = await import(`${folder}ort.${build}.min.mjs`);
  ort.env.wasm.wasmPaths = folder;
  ort.env.wasm.numThreads = threads;
  const provider = { name: accelerator, ...(accelerator === "webnn" && { deviceType: device }) };
  const session = await ort.InferenceSession.create(file, { executionProviders: [provider], freeDimensionOverrides: { batch: 1 } });
  const [name] = session.inputNames;
  const run = async ({ levels, bitmap }) => {
    const images = new ort.Tensor("uint8", levels, [1, bitmap.height, bitmap.width, 3]);
    const outputs = await session.run({ [name]: images });
    return outputs[session.outputNames[0]].data;
  };
  return { run };
}

/** MediaPipe's ImageClassifier: the scores in the order of the classes. */
export async function classifier(file, { delegate = "CPU" }) {
  const task = await mediapipe("ImageClassifier", file, delegate, { maxResults: -1 });
  const run = async ({ bitmap }) => {
    const { categories } = task.classify(bitmap).classifications[0];
    return categories.toSorted((a, b) => a.index - b.index).map(({ score }) => score);
  };
  return { run };
}

/** MediaPipe's ImageSegmenter: the class of each pixel. */
export async function segmenter(file, { delegate = "CPU" }) {
  const masks = { outputCategoryMask: true, outputConfidenceMasks: false };
  const task = await mediapipe("ImageSegmenter", file, delegate, masks);
  const run = async ({ bitmap }) => {
    const result = task.segment(bitmap);
    const classes = result.categoryMask.getAsUint8Array();
    result.close();
    return classes;
  };
  return { run, facts: { labels: task.getLabels() } };
}

/** MediaPipe's ImageEmbedder: the pooled features. */
export async function embedder(file, { delegate = "CPU" }) {
  const task = await mediapipe("ImageEmbedder", file, delegate, {});
  return { run: async ({ bitmap }) => task.embed(bitmap).embeddings[0].floatEmbedding };
}

async function mediapipe(name, file, delegate, options) {
  const vision = await import("@mediapipe/tasks-vision");
  const files = await vision.FilesetResolver.forVisionTasks(
    "/packages/@mediapipe/tasks-vision/wasm",
  );
  const baseOptions = { modelAssetPath: file, delegate };
  return vision[name].createFromOptions(files, { baseOptions, ...options });
}
