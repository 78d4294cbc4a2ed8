/**
 * The checks at small scale: `node check.js tokenAdapt --seed 0` or `node check.js maskedTokens --seed 0` learns a tokenizer of 28 x 28 grey
 * images and prints what the part is good for as one line of JSON. `--images` takes the first so many, `--effort` a share of the steps. Progress goes to stderr.
 */
import { parseArgs } from 'node:util';
import '../../../device/index.ts';
import { openFashion, packImages, subset } from '../../../data/index.ts';
import { maskedTokenCheck, tokenAdaptCheck } from './checks.ts';

const checks = { tokenAdapt: tokenAdaptCheck, maskedTokens: maskedTokenCheck };
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seed: { type: 'string', default: '0' }, images: { type: 'string' }, effort: { type: 'string', default: '1' } },
});
const [name = ''] = positionals;
if (positionals.length !== 1 || !Object.hasOwn(checks, name))
  throw new Error(`[seit-plus-plus] there is no check '${positionals.join(' ')}'; use ${Object.keys(checks).join(' or ')}`);
const seed = Number(values.seed);
const effort = Number(values.effort);
const asked = Number(values.images ?? Number.POSITIVE_INFINITY);
if (!(Number.isSafeInteger(seed) && seed >= 0 && asked >= 1 && effort > 0 && effort <= 1))
  throw new RangeError(
    `[seit-plus-plus] seed ${values.seed}, ${values.images ?? 'all'} images, effort ${values.effort}; a seed is a whole number from 0, images are 1 or more, effort is a share of the steps above 0`,
  );

const [whole, test] = await Promise.all([
  openFashion('train').then((set) => packImages(set)),
  openFashion('test').then((set) => packImages(set)),
]);
const size = Math.min(whole.size, Math.floor(asked));
const images = subset(
  whole,
  Uint32Array.from({ length: size }, (_, i) => i),
);
const began = performance.now();
const figures = await checks[name as keyof typeof checks](images, test, {
  seed,
  effort,
  onStep: (what, step, { loss }) => void (step % 100 === 0 && console.error(`${what}: step ${step}, loss ${loss?.toFixed(4)}`)),
});
const seconds = (performance.now() - began) / 1000;
console.log(
  JSON.stringify({ check: name, data: 'fashion', seed, effort, images: images.size, testImages: test.size, ...figures, seconds }),
);
