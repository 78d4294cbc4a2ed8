/**
 * Cut cross-entropy at 8,192 tokens x 256,000 classes x 2,304 features in bf16, loss and gradients, beside torch.compile's: time, memory besides
 * operands and gradients, and what the filter leaves out. `trained`: Zipf's prior over shuffled classes, targets that stand out among two dozen
 * candidates; `random`: normal logits of deviation 2, where every tile has something to say, and `exact` leaves none out.
 */
import { DataRandom } from '../../data/index.ts';
import type { CudaDevice } from '../../device/index.ts';
import {
  add,
  cast,
  compile,
  concat,
  defaultDevice,
  disposeTree,
  full,
  linearCrossEntropyGradients,
  mul,
  narrow,
  random,
  reshape,
  type Tensor,
  take,
  tensor,
  zeros,
} from '../../tensor/index.ts';
import { median } from '../../train/index.ts';
import type { Figures, Section } from '../section.ts';

const [N, D, V] = [8192, 2304, 256_000];
const CANDIDATES = 24;
type Case = { e: Tensor; c: Tensor; y: Tensor };

function randomCase(): Case {
  const dice = new DataRandom(1, 0);
  const made = compile(() => ({
    e: cast(random.normal(random.key(1), [N, D]), 'bf16'),
    c: cast(mul(random.normal(random.key(2), [V, D]), 2 / Math.sqrt(D)), 'bf16'),
  }))();
  return { ...made, y: tensor(Int32Array.from({ length: N }, () => dice.below(V))) };
}

/** Feature 0 carries the prior, the others a direction of length about 1 for each class; a row is the weighted sum of its candidates'. */
function trainedCase(): Case {
  const dice = new DataRandom(2, 0);
  const uniform = (): number => dice.below(2 ** 30) / 2 ** 30;
  const classes = Int32Array.from({ length: V }, (_, i) => i);
  for (let i = V - 1; i > 0; i--) {
    const j = dice.below(i + 1);
    [classes[i], classes[j]] = [classes[j]!, classes[i]!];
  }
  const prior = new Float32Array(V);
  for (let rank = 0; rank < V; rank++) prior[classes[rank]!] = -Math.log(rank + 1) / 4;
  const drawn = (): Int32Array => Int32Array.from({ length: N }, () => classes[Math.floor(V ** uniform()) - 1]!);
  const weights = (low: number, high: number): Tensor =>
    tensor(
      Float32Array.from({ length: N }, () => low + (high - low) * uniform()),
      { shape: [N, 1] },
    );
  const [y, ...others] = Array.from({ length: CANDIDATES + 1 }, () => tensor(drawn()));
  const made = compile((first: Tensor, of: Tensor[], by: Tensor[]) => {
    const directions = mul(random.normal(random.key(3), [V, D - 1]), 1 / Math.sqrt(D));
    const c = cast(concat([reshape(first, [V, 1]), directions], 1), 'bf16');
    const mixed = of.reduce((sum, index, k) => add(sum, mul(cast(take(c, index), 'f32'), by[k]!)), zeros([N, D]));
    return { e: cast(concat([full([N, 1], 4), narrow(mixed, 1, 1, D - 1)], 1), 'bf16'), c };
  });
  const by = [weights(10, 14), ...others.map(() => weights(2, 6))]; // a loss of about 2.7
  return { ...made(tensor(prior), [y!, ...others], by), y: y! };
}

function timed(
  device: CudaDevice,
  { e, c, y }: Case,
  options: Parameters<typeof linearCrossEntropyGradients>[3],
): { ms: number; mb: number; skipped: number } {
  const f = compile((a: Tensor, b: Tensor, t: Tensor) => linearCrossEntropyGradients(a, b, t, options));
  const run = (): number => {
    const made = f(e, c, y);
    const skipped = made.skipped.item();
    disposeTree(made);
    return skipped;
  };
  const skipped = run();
  run();
  const ms = median(Array.from({ length: 7 }, () => device.elapsed(() => disposeTree(f(e, c, y)))));
  return { ms, mb: f.plan(e, c, y).arenaBytes / 1e6, skipped };
}

export const section: Section = {
  title: `loss and gradients of ${N} x ${V} logits, d = ${D} / torch.compile`,
  peer: 'cuda_cce.py',
  rows: [
    { name: 'time, trained logits', unit: 'ms', ours: 'trained', theirs: 'compiled', atMost: 1.1 },
    { name: 'time, random logits, exact', unit: 'ms', ours: 'exact', theirs: 'compiled', atMost: 1.1 },
    { name: 'the same / the four products alone', unit: 'ms', ours: 'exact', theirs: 'products' },
    { name: 'time, random logits, filtered', unit: 'ms', ours: 'random', theirs: 'compiled', atMost: 1.1 },
    { name: 'memory / torch.compile', unit: 'MB', ours: 'memory', theirs: 'compiled memory' },
    { name: 'memory / what it may be', unit: 'MB', ours: 'memory', theirs: 'allowed memory', atMost: 1 },
  ],
  measure(): Figures {
    const device = defaultDevice() as CudaDevice;
    const [peaked, flat] = [trainedCase(), randomCase()];
    const [trained, normal, exact] = [timed(device, peaked, {}), timed(device, flat, {}), timed(device, flat, { preset: 'exact' })];
    return {
      trained: trained.ms,
      random: normal.ms,
      exact: exact.ms,
      memory: Math.max(trained.mb, normal.mb, exact.mb),
      'allowed memory': 50,
      'tiles left out': `${(100 * trained.skipped).toFixed(1)} % of trained, ${(100 * normal.skipped).toFixed(1)} % of random logits`,
    };
  },
};
