// node node.cjs PACKAGE NETWORK IMAGES COUNT SIZE: runs a network on images by onnxruntime-node.
// IMAGES holds uint8 (COUNT, SIZE, SIZE, 3). Prints the outputs, a dict of arrays, as JSON.
const { readFileSync } = require("node:fs");

async function main([folder, network, images, count, size]) {
  const { InferenceSession, Tensor } = require(folder);
  const session = await InferenceSession.create(network);
  const shape = [Number(count), Number(size), Number(size), 3];
  const input = new Tensor("uint8", new Uint8Array(readFileSync(images)), shape);
  const outputs = await session.run({ [session.inputNames[0]]: input });
  const named = Object.entries(outputs).map(([name, { data }]) => [name, Array.from(data)]);
  console.log(JSON.stringify(Object.fromEntries(named)));
}

main(process.argv.slice(2));
