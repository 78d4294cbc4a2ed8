/** The smallest codec that keeps every promise: block means at few bits, classified by the nearest class mean. For the suites' own tests. */
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { z } from 'zod';
import { BudgetError } from '../../bytes/index.ts';
import type { ImageSet } from '../../data/index.ts';
import type { Codec, CodecTarget } from '../contracts/codec.ts';
import { defineMethod } from '../method.ts';

const Config = z.object({
  side: z.int().min(1).max(16).default(4).describe('blocks along a side of the image'),
  bits: z.int().min(1).max(8).default(4).describe('bits of a block mean'),
});
type Config = z.output<typeof Config>;

const Header = z.object({ images: z.int().min(0), side: z.int().min(1), bits: z.int().min(1).max(8), classes: z.int().min(1) });
const headerBytes = 96;
const digestBytes = 32;
const digest = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();

/** One byte of label and side x side x bits of means, in whole bytes. */
const imageBytes = ({ side, bits }: Config): number => 1 + Math.ceil((side * side * bits) / 8);

/** Means [side x side] over blocks and channels, 0..255. */
async function blockMeans(images: ImageSet, index: number, side: number): Promise<Float64Array> {
  const [height, width, channels] = images.shape;
  const { pixels } = await images.read(index);
  const sums = new Float64Array(side * side);
  const counts = new Float64Array(side * side);
  for (let at = 0; at < pixels.length; at++) {
    const pixel = Math.floor(at / channels);
    const block = Math.floor((Math.floor(pixel / width) * side) / height) * side + Math.floor(((pixel % width) * side) / width);
    sums[block]! += pixels[at]!;
    counts[block]!++;
  }
  return sums.map((sum, block) => sum / counts[block]!);
}

/** Quantised to 2^bits levels and back. */
const restored = (means: Float64Array, bits: number): Float64Array =>
  means.map((mean) => Math.round((mean / 255) * (2 ** bits - 1)) / (2 ** bits - 1));

function createCodec(config: Config): Codec {
  const { side, bits } = config;
  return {
    async learn(_images, files, run) {
      run.signal?.throwIfAborted();
      await writeFile(files.tokenizer, JSON.stringify(config));
    },
    async store(images, files, run) {
      run.signal?.throwIfAborted();
      const [count, classes] = [images.size, images.classes.length];
      const body = Buffer.alloc(headerBytes + count * imageBytes(config));
      body.write(JSON.stringify({ images: count, side, bits, classes }).padEnd(headerBytes));
      for (let index = 0; index < count; index++) {
        const start = headerBytes + index * imageBytes(config);
        body[start] = images.labels[index]!;
        const levels = restored(await blockMeans(images, index, side), bits).map((value) => Math.round(value * (2 ** bits - 1)));
        for (let bit = 0; bit < side * side * bits; bit++) {
          const set = (levels[Math.floor(bit / bits)]! >> (bit % bits)) & 1;
          body[start + 1 + (bit >> 3)]! |= set << (bit & 7);
        }
      }
      await writeFile(files.store, Buffer.concat([body, digest(body)]));
    },
    async train(files, run) {
      run.signal?.throwIfAborted();
      const whole = await readFile(files.store);
      const body = whole.subarray(0, -digestBytes);
      if (whole.length < headerBytes + digestBytes || !digest(body).equals(whole.subarray(-digestBytes)))
        throw new Error(
          `[toy-codec] ${files.store} is damaged: its ${whole.length} bytes do not match their checksum; store the images again`,
        );
      const { images, classes } = Header.parse(JSON.parse(body.toString('utf8', 0, headerBytes)));
      const sums = Array.from({ length: classes }, () => new Float64Array(side * side));
      const counts = new Float64Array(classes);
      for (let index = 0; index < images; index++) {
        const start = headerBytes + index * imageBytes(config);
        const label = body[start]!;
        counts[label]!++;
        for (let bit = 0; bit < side * side * bits; bit++)
          sums[label]![Math.floor(bit / bits)]! +=
            (((body[start + 1 + (bit >> 3)]! >> (bit & 7)) & 1) * 2 ** (bit % bits)) / (2 ** bits - 1);
      }
      await writeFile(files.model, JSON.stringify(sums.map((sum, label) => Array.from(sum, (value) => value / counts[label]!))));
    },
    async predict(images, files, run) {
      run.signal?.throwIfAborted();
      const means = z.array(z.array(z.number())).parse(JSON.parse(await readFile(files.model, 'utf8')));
      const labels = new Uint16Array(images.size);
      for (let index = 0; index < images.size; index++) {
        const seen = restored(await blockMeans(images, index, side), bits);
        const distances = means.map((mean) => mean.reduce((sum, value, at) => sum + (value - seen[at]!) ** 2, 0));
        labels[index] = distances.indexOf(Math.min(...distances));
      }
      return labels;
    },
  };
}

const storeBytes = (config: Config, { size }: CodecTarget): number => headerBytes + size * imageBytes(config) + digestBytes;

export default defineMethod({
  id: 'toy-codec',
  contract: 'codec',
  title: 'Block means and the nearest class mean',
  paper: { title: 'Discriminatory Analysis. Nonparametric Discrimination', authors: 'Fix and Hodges', year: 1951 },
  saves: ['data'],
  config: Config,
  fit(budget, target) {
    const side = Math.min(16, target.shape[0], target.shape[1]);
    const choices = Array.from({ length: side * 8 }, (_, at): Config => ({ side: 1 + (at >> 3), bits: 1 + (at & 7) }));
    const within = choices.filter((config) => storeBytes(config, target) <= budget);
    const most = Math.max(...within.map((config) => imageBytes(config)));
    const best = within.find((config) => imageBytes(config) === most);
    if (best) return best;
    const needed = storeBytes({ side: 1, bits: 1 }, target);
    throw new BudgetError({ who: 'toy-codec', budget, needed, because: `${target.size} images x 2 B`, wayOut: 'raise the budget' });
  },
  bytes: storeBytes,
  create: createCodec,
});
