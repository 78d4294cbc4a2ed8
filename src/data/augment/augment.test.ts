import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import '../../device/index.ts';
import { compile, random as keys, device as openDevice, tensor, withDevice } from '../../tensor/index.ts';
import type { ImageShape } from '../image-set.ts';
import { DataRandom } from '../random.ts';
import {
  affine,
  beta,
  boxMask,
  drawErasing,
  drawMix,
  enlarge,
  erase,
  flipRows,
  mixImages,
  mixTargets,
  normal,
  padCrop,
  pixelOps,
  randAugment,
  randAugmentOps,
  resizedCrop,
  rotation,
  smoothTargets,
} from './index.ts';

interface Golden {
  name: string;
  inputs: { x: { shape: ImageShape; data: number[] } };
  attrs: { op?: string; args: number[] };
  outputs: { y: { data: number[] } };
}
const { cases } = JSON.parse(readFileSync(new URL('../../../tests/golden/augment.json', import.meta.url), 'utf8')) as { cases: Golden[] };
const goldens = cases.filter(({ attrs }) => attrs.op);

/** The operations by the names of the golden file, which gives arguments in Pillow's units. */
const ops: Record<string, (image: Uint8Array, shape: ImageShape, ...args: number[]) => Uint8Array> = {
  autoContrast: pixelOps.autoContrast,
  equalize: pixelOps.equalize,
  invert: pixelOps.invert,
  posterize: (image, _, bits) => pixelOps.posterize(image, bits!),
  solarize: (image, _, threshold) => pixelOps.solarize(image, threshold!),
  brightness: (image, _, factor) => pixelOps.brightness(image, factor!),
  color: (image, shape, factor) => pixelOps.color(image, shape, factor!),
  contrast: (image, shape, factor) => pixelOps.contrast(image, shape, factor!),
  sharpness: (image, shape, factor) => pixelOps.sharpness(image, shape, factor!),
  rotate: (image, shape, degrees) => affine(image, shape, rotation(shape, degrees!)),
  enlarge: (image, shape, ...box) => enlarge(image, shape, box as unknown as Parameters<typeof enlarge>[2]),
  affine: (image, shape, ...map) => affine(image, shape, map as unknown as Parameters<typeof affine>[2]),
};

test('pixel and place operations agree with Pillow', () => {
  assert.ok(goldens.length > 20);
  for (const { name, inputs, attrs, outputs } of goldens) {
    const made = ops[attrs.op!]!(Uint8Array.from(inputs.x.data), inputs.x.shape, ...attrs.args);
    // Pillow interpolates and blends in float32: a value may land on the other side of a whole number
    const off = outputs.y.data.map((expected, i) => Math.abs(expected - made[i]!));
    assert.ok(Math.max(...off) <= 1, `${name}: off by ${Math.max(...off)} at ${off.indexOf(Math.max(...off))}`);
    // enlarged pixels are often half-way between two values, where its weights of 22 bits round down
    const share = attrs.op === 'enlarge' ? 1 / 15 : 1 / 50;
    assert.ok(off.filter((d) => d > 0).length <= off.length * share, `${name}: ${off.filter((d) => d > 0).length} of ${off.length} differ`);
  }
});

const shape: ImageShape = [10, 8, 3];
const picture = (seed: number): Uint8Array => {
  const random = new DataRandom(seed);
  return Uint8Array.from({ length: 240 }, () => random.below(256));
};

test('enhancements by 1, a map to itself and strength 0 leave the image', () => {
  for (const factor of [pixelOps.color, pixelOps.contrast, pixelOps.sharpness]) assert.deepEqual(factor(picture(1), shape, 1), picture(1));
  assert.deepEqual(affine(picture(1), shape, [1, 0, 0, 0, 1, 0]), picture(1));
  const gentle = [
    'rotate',
    'solarize',
    'solarizeAdd',
    'color',
    'contrast',
    'brightness',
    'sharpness',
    'shearX',
    'shearY',
    'translateX',
    'translateY',
  ];
  for (const name of gentle) assert.deepEqual(randAugmentOps[name]!(picture(2), shape, 0, 1, 128), picture(2), name);
});

test('stronger operations change more', () => {
  const change = (name: string, strength: number): number => {
    const out = randAugmentOps[name]!(picture(3), shape, strength, 1, 128);
    return picture(3).reduce((sum, x, i) => sum + Math.abs(x - out[i]!), 0);
  };
  for (const name of ['posterize', 'solarize', 'solarizeAdd', 'color', 'contrast', 'brightness', 'sharpness'])
    assert.ok(change(name, 0.9) > change(name, 0.3), name);
});

test('RandAugment is a function of its random numbers, and refuses strengths it does not know', () => {
  const run = (magnitude: number, seed: number) => randAugment(picture(4), shape, { magnitude }, new DataRandom(seed));
  assert.deepEqual(run(9, 5), run(9, 5));
  assert.ok(Array.from({ length: 20 }, (_, seed) => run(9, seed).join()).some((made, _, all) => made !== all[0]));
  assert.deepEqual(randAugment(picture(4), shape, { magnitude: 9, probability: 0 }, new DataRandom(1)), picture(4));
  assert.throws(() => run(11, 1), /magnitude 11 is outside 0 to 10/);
});

test('flips undo themselves, crops keep what stays inside', () => {
  assert.deepEqual(flipRows(flipRows(picture(6), shape), shape), picture(6));
  assert.notDeepEqual(flipRows(picture(6), shape), picture(6));
  const ones = new Uint8Array(240).fill(1);
  for (let seed = 0; seed < 40; seed++) {
    const kept = padCrop(ones, shape, 2, new DataRandom(seed)).reduce((a, b) => a + b);
    assert.ok(kept >= 8 * 6 * 3 && kept <= 240 && kept % 3 === 0);
  }
  assert.deepEqual(padCrop(picture(6), shape, 0, new DataRandom(1)), picture(6));
});

test('resized crops show a box of the area and ratio asked for, and each of its edges', () => {
  // brightness is the place: the corners of what is shown tell the box
  const [height, width] = [60, 80];
  const places = new Uint8Array(height * width * 3);
  for (let i = 0; i < height * width; i++) places.set([Math.floor(i / width), i % width], 3 * i);
  const areas: number[] = [];
  for (let seed = 0; seed < 300; seed++) {
    const shown = resizedCrop(places, [height, width, 3], 0.25, new DataRandom(seed));
    const [top, left, bottom, right] = [shown[0]!, shown[1]!, shown.at(-3)! + 1, shown.at(-2)! + 1];
    const [h, w] = [bottom - top, right - left];
    assert.ok(w / h > 0.7 && w / h < 1.45, `${h} x ${w}`);
    areas.push((h * w) / (height * width));
  }
  assert.ok(Math.min(...areas) > 0.23 && Math.min(...areas) < 0.3 && Math.max(...areas) > 0.85);
  assert.deepEqual(resizedCrop(picture(6), shape, 0.3, new DataRandom(2)), resizedCrop(picture(6), shape, 0.3, new DataRandom(2)));
});

test('distributions have their moments', () => {
  const random = new DataRandom(7);
  const moments = (draw: () => number) => {
    const xs = Array.from({ length: 20_000 }, draw);
    const mean = xs.reduce((a, b) => a + b) / xs.length;
    return { mean, variance: xs.reduce((a, x) => a + (x - mean) ** 2, 0) / xs.length };
  };
  const n = moments(() => normal(random, 3, 2));
  assert.ok(Math.abs(n.mean - 3) < 0.06 && Math.abs(n.variance - 4) < 0.2);
  for (const a of [0.8, 1, 3]) {
    const b = moments(() => beta(random, a, a));
    assert.ok(Math.abs(b.mean - 0.5) < 0.01 && Math.abs(b.variance - 1 / (4 * (2 * a + 1))) < 0.004, `beta(${a})`);
    const skew = moments(() => beta(random, a, 2));
    const variance = (2 * a) / ((a + 2) ** 2 * (a + 3));
    assert.ok(Math.abs(skew.mean - a / (a + 2)) < 0.01 && Math.abs(skew.variance - variance) < 0.004, `beta(${a}, 2)`);
  }
});

test('erasing boxes have the area and the share of the recipe', () => {
  const boxes = drawErasing(4000, [32, 24], 0.25, new DataRandom(8));
  let erased = 0;
  for (let i = 0; i < 4000; i++) {
    const [top, left, bottom, right] = boxes.subarray(4 * i, 4 * i + 4) as unknown as [number, number, number, number];
    const area = (bottom - top) * (right - left);
    if (area === 0) continue;
    erased++;
    assert.ok(top >= 0 && left >= 0 && bottom <= 32 && right <= 24 && area >= 0.01 * 768 && area <= 0.36 * 768);
  }
  assert.ok(Math.abs(erased / 4000 - 0.25) < 0.03);
});

test('erasing boxes are as often upright as lying, to a third either way', () => {
  const boxes = drawErasing(4000, [400, 400], 1, new DataRandom(4));
  const ratios = Array.from({ length: 4000 }, (_, i) =>
    Math.log((boxes[4 * i + 2]! - boxes[4 * i]!) / (boxes[4 * i + 3]! - boxes[4 * i + 1]!)),
  );
  const mean = ratios.reduce((a, b) => a + b) / 4000;
  assert.ok(Math.abs(mean) < 0.04, `${mean}`);
  const [least, most] = [Math.min(...ratios), Math.max(...ratios)];
  assert.ok(least < -1.1 && most > 1.1 && least > -1.25 && most < 1.25, `${least} to ${most}`);
});

test('CutMix takes the share of its law, from edge to edge, and half of the batches where Mixup is on', () => {
  const random = new DataRandom(12);
  const draws = Array.from({ length: 6000 }, () => drawMix({ mixup: 0, cutmix: 1 }, [256, 256], random));
  // the side is the root of a uniform u, and a box keeps s - s^2 / 4 of it on the average: E[(s - s^2 / 4)^2] = 1/2 - 1/5 + 1/48
  const share = draws.reduce((sum, [own]) => sum + 1 - own!, 0) / draws.length;
  assert.ok(Math.abs(share - 77 / 240) < 0.01, `${share}`);
  for (const [at, edge] of [0, 0, 256, 256].entries()) assert.ok(draws.some((mix) => mix[2 + at] === edge));
  for (const [own, outside, top, left, bottom, right] of draws as unknown as number[][]) {
    assert.equal(outside, 1);
    assert.ok(Math.abs(1 - own! - ((bottom! - top!) * (right! - left!)) / 65536) < 1e-6);
  }
  const both = Array.from({ length: 4000 }, () => drawMix({ mixup: 0.8, cutmix: 1 }, [256, 256], random));
  const mixed = both.filter(([own, outside]) => own === outside && own !== 1).length;
  assert.ok(Math.abs(mixed / 4000 - 0.5) < 0.03, `${mixed} of 4000`);
});

test('mixing keeps labels and pixels in proportion', () => {
  const labels = [1, 0, 4, 2]; // not the same backwards, nor in reverse order
  const images = tensor(
    Float32Array.from({ length: 4 * 64 }, (_, i) => labels[Math.floor(i / 64)]!),
    { shape: [4, 1, 8, 8], device: openDevice('cpu') },
  );
  const step = compile(
    (x: typeof images, targets: typeof images, mix: typeof images) => [mixImages(x, mix), mixTargets(targets, mix)] as const,
  );
  withDevice('cpu', () => {
    const random = new DataRandom(9);
    for (let k = 0; k < 30; k++) {
      const mix = drawMix({ mixup: k % 3 === 0 ? 0 : 0.8, cutmix: k % 3 === 1 ? 0 : 1 }, [8, 8], random);
      const [mixed, targets] = step(images, smoothTargets(tensor(Int32Array.from(labels)), 5, 0), tensor(mix));
      const [pixels, shares] = [mixed.data() as Float32Array, targets.data() as Float32Array];
      for (let i = 0; i < 4; i++) {
        const mean = pixels.subarray(i * 64, i * 64 + 64).reduce((a, b) => a + b) / 64;
        const label = [0, 1, 2, 3, 4].reduce((sum, c) => sum + c * shares[5 * i + c]!, 0);
        assert.ok(Math.abs(mean - label) < 1e-5, `draw ${k}: mean pixel ${mean}, mean label ${label}`);
      }
    }
  });
  assert.deepEqual(Array.from(drawMix({ mixup: 0, cutmix: 0 }, [8, 8], new DataRandom(0))), [1, 1, 0, 0, 0, 0]);
});

test('boxes mask their pixels alone, erasing fills them with noise', () => {
  const boxes = tensor([
    [1, 2, 3, 5],
    [0, 0, 0, 0],
  ]);
  const mask = Array.from(boxMask(boxes, 4, 6).data());
  assert.equal(
    mask.reduce((a, b) => a + b),
    6,
  );
  for (const at of [8, 9, 10, 14, 15, 16]) assert.equal(mask[at], 1);
  const erased = erase(tensor(new Float32Array(96).fill(7), { shape: [2, 2, 4, 6] }), boxes, keys.key(1)).data();
  erased.forEach((x, i) => assert.equal(x !== 7, i < 48 && mask[i % 24] === 1, `element ${i}`));
});

test('smoothed targets are distributions', () => {
  const rows = smoothTargets(tensor(Int32Array.of(1, 3)), 5, 0.1).toArray() as number[][];
  for (const row of rows) assert.ok(Math.abs(row.reduce((a, b) => a + b) - 1) < 1e-6);
  assert.ok(Math.abs(rows[0]![1]! - 0.92) < 1e-6 && Math.abs(rows[1]![0]! - 0.02) < 1e-6);
});
