// node server.js PORT MODEL.onnx: answers POST with the probability of the first input tensor, as Open Inference does.
import cluster from "node:cluster";
import { availableParallelism } from "node:os";
import Fastify from "fastify";
import { InferenceSession, Tensor } from "onnxruntime-node";

const [port, file] = process.argv.slice(2);
if (cluster.isPrimary) {
  for (let i = 0; i < availableParallelism(); i++) cluster.fork();
  process.on("SIGTERM", () => process.exit());
} else {
  const session = await InferenceSession.create(file, { intraOpNumThreads: 1, interOpNumThreads: 1 });
  const [input, output] = [session.inputNames[0], session.outputNames[0]];
  const app = Fastify();
  const tensor = {
    type: "object", required: ["name", "shape", "datatype", "data"],
    properties: { name: { type: "string" }, shape: { type: "array", items: { type: "integer" } }, datatype: { type: "string" }, data: { type: "array", items: { type: "number" } } },
  };
  app.get("/", () => "ready");
  app.post("*", { schema: { body: { type: "object", required: ["inputs"], properties: { inputs: { type: "array", items: tensor } } } } }, async request => {
    const { shape, data } = request.body.inputs[0];
    const results = await session.run({ [input]: new Tensor("float32", Float32Array.from(data), shape) }, [output]);
    const { dims, data: values } = results[output];
    return { model_name: "flight-delay", model_version: "1", outputs: [{ name: output, shape: dims, datatype: "FP32", data: Array.from(values) }] };
  });
  await app.listen({ port: Number(port), host: "127.0.0.1" });
}
