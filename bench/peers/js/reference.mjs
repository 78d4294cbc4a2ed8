/** The reference train step's start (../README.md has the convention) and the line that every peer prints. */
export const D = 128,
  HEADS = 4,
  LAYERS = 4,
  VOCAB = 512,
  BATCH = 16,
  TOKENS = 128;
export const ADAMW = { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01 };

const [PARAMETERS, IDS, TARGETS] = [0, 1, 2];

function hash32(stream, i) {
  let x = (Math.imul(stream, 0x9e3779b9) + i) >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}

function shapes() {
  const list = [
    ['e', [VOCAB, D]],
    ['p', [TOKENS, D]],
  ];
  for (let i = 0; i < LAYERS; i++) {
    list.push([`l1g${i}`, [D], 1], [`l1b${i}`, [D], 0], [`l2g${i}`, [D], 1], [`l2b${i}`, [D], 0]);
    list.push([`qkv${i}`, [D, 3 * D]], [`qkvb${i}`, [3 * D], 0], [`o${i}`, [D, D]], [`ob${i}`, [D], 0]);
    list.push([`f1${i}`, [D, 4 * D]], [`f1b${i}`, [4 * D], 0], [`f2${i}`, [4 * D, D]], [`f2b${i}`, [D], 0]);
  }
  return [...list, ['lfg', [D], 1], ['lfb', [D], 0], ['h', [D, VOCAB]]];
}

/** [{ name, shape, data: Float32Array }] in the order of the flat parameter list. */
export function parameters() {
  let offset = 0;
  return shapes().map(([name, shape, fill]) => {
    const data = new Float32Array(shape.reduce((a, b) => a * b));
    for (let i = 0; i < data.length; i++) {
      const h = hash32(PARAMETERS, offset + i);
      data[i] = fill ?? ((h & 255) + ((h >>> 8) & 255) + ((h >>> 16) & 255) + (h >>> 24) - 510) / 8192;
    }
    offset += data.length;
    return { name, shape, data };
  });
}

const integers = (stream) => Int32Array.from({ length: BATCH * TOKENS }, (_, i) => hash32(stream, i) % VOCAB);
export const ids = integers(IDS),
  targets = integers(TARGETS);

/** `--name value` from the command line. */
export function option(name, fallback) {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : Number(process.argv[at + 1]);
}

/** Times `step(t)` (t from 1, resolves to the loss) and prints the peer's line; a failure is a line too. */
export async function measure(peer, version, threads, makeStep) {
  const line = { peer, version, threads, ms: null, msAll: [], losses: [] };
  try {
    const step = await makeStep();
    for (let t = 1; t <= 6 + option('reps', 5); t++) {
      const start = performance.now();
      const loss = await step(t);
      if (t <= 6) line.losses.push(loss);
      else line.msAll.push(+(performance.now() - start).toFixed(2));
    }
    const sorted = [...line.msAll].sort((a, b) => a - b),
      half = sorted.length >> 1;
    line.ms = sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  } catch (error) {
    line.reason = String(error?.message ?? error).slice(0, 300);
  }
  console.log(JSON.stringify(line));
  process.exit(0); // worker pools keep the process alive
}
