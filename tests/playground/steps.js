// Trains the playground's network for some steps and prints everything that another implementation needs to do the same.
// Reads {engine, config, steps} from standard input.
"use strict";
const { engine, config, steps } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const { Run, DIMS } = require(engine);

const run = new Run(config);
const plain = (values) => Array.from(values);

function weights(network) {
  const found = {};
  for (const m of network.modalities) {
    found[m] = network.tensorsOf(m).map((t) => plain(t.w));
    if (network.heads[m]) found[`head ${m}`] = network.heads[m].tensors.map((t) => plain(t.w));
  }
  found.head = network.head.tensors.map((t) => plain(t.w));
  return found;
}

const x = {};
for (const m of run.modalities) x[m] = { train: plain(run.train.x[m]), test: plain(run.test.x[m]), dims: DIMS[m] };
const before = weights(run.network);
const [batches, told] = [[], []];
for (let i = 0; i < steps; i++) {
  // where `step` will take its batch from; asked twice, the order stays
  const position = run.position;
  batches.push(plain(run.nextBatch()));
  run.position = position;
  told.push(run.step());
}
const last = run.judge();
process.stdout.write(JSON.stringify({ config: run.config, x, y: { train: plain(run.train.y), test: plain(run.test.y) }, before, batches, told, after: weights(run.network), last }));
