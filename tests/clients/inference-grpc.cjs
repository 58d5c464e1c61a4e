// Calls the Open Inference Protocol's gRPC service with gRPC's own client for Node.js, and prints what it saw as one JSON object.
// node inference-grpc.cjs 127.0.0.1:5001 path/to/inference.proto
'use strict';
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [address, proto] = process.argv.slice(2);
const { inference } = grpc.loadPackageDefinition(loader.loadSync(proto, { keepCase: true, longs: Number, defaults: true }));
const client = new inference.GRPCInferenceService(address, grpc.credentials.createInsecure());
const compressed = new inference.GRPCInferenceService(address, grpc.credentials.createInsecure(), { 'grpc.default_compression_algorithm': 2 });

const call = (method, request, options = {}, on = client) => new Promise(resolve =>
  on[method](request, options, (error, answer) => resolve(error ? { code: error.code, details: error.details } : answer)));

const numbers = Buffer.alloc(64);
for (let i = 0; i < 16; i++) numbers.writeInt32LE(i, i * 4);
const tensor = (name, more = {}) => ({ name, datatype: 'INT32', shape: [1, 16], ...more });
const raw = { model_name: 'simple', id: 'r1', inputs: [tensor('INPUT0'), tensor('INPUT1')], raw_input_contents: [numbers, numbers] };
const integers = answer => answer.raw_output_contents.map(bytes => Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readInt32LE(i * 4)));

function stream(requests) {
  return new Promise(resolve => {
    const saw = [];
    const both = client.ModelStreamInfer();
    both.on('data', answer => {
      saw.push(answer.error_message || integers(answer.infer_response)[0][15]);
      // One after the other: each answer comes while the stream is still open.
      if (requests.length > 0) both.write(requests.shift()); else both.end();
    });
    both.on('error', error => resolve([...saw, error.code]));
    both.on('end', () => resolve(saw));
    both.write(requests.shift());
  });
}

(async () => {
  const contents = { int_contents: [...numbers.keys()].slice(0, 16) };
  const saw = {
    live: await call('ServerLive', {}),
    ready: await call('ServerReady', {}),
    server: await call('ServerMetadata', {}),
    modelReady: await call('ModelReady', { name: 'simple' }),
    metadata: await call('ModelMetadata', { name: 'simple' }),
    raw: integers(await call('ModelInfer', raw)),
    contents: integers(await call('ModelInfer', { model_name: 'simple', model_version: '1', inputs: [tensor('INPUT0', { contents }), tensor('INPUT1', { contents })], outputs: [{ name: 'OUTPUT1' }] })),
    compressed: integers(await call('ModelInfer', raw, {}, compressed)),
    texts: (await call('ModelInfer', { model_name: 'texts', inputs: [{ name: 'IN', datatype: 'BYTES', shape: [2], contents: { bytes_contents: [Buffer.from('größer'), Buffer.from('')] } }] })).raw_output_contents.map(bytes => bytes.toString('hex')),
    stream: await stream([raw, { model_name: 'nothing' }, raw]),
    config: await call('ModelConfig', { name: 'simple' }),
    statistics: (await call('ModelStatistics', { name: 'simple' })).model_stats[0],
    index: (await call('RepositoryIndex', {})).models,
    unload: await call('RepositoryModelUnload', { model_name: 'texts' }),
    unloaded: await call('ModelReady', { name: 'texts' }),
    load: await call('RepositoryModelLoad', { model_name: 'texts' }),
    loaded: await call('ModelReady', { name: 'texts' }),
    unknown: await call('ModelInfer', { model_name: 'nothing' }),
    wrong: await call('ModelInfer', { ...raw, raw_input_contents: [numbers, numbers.subarray(1)] }),
    expired: await call('ModelInfer', raw, { deadline: Date.now() - 1000 }),
    parallel: (await Promise.all(Array.from({ length: 200 }, () => call('ModelInfer', raw)))).filter(answer => answer.model_name === 'simple').length,
  };
  console.log(JSON.stringify(saw));
  client.close();
  compressed.close();
})();
