/**
 * The file that the pixel arms of the demo train from: a header of 16 bytes, labels packed to whole bits, pixels as unsigned bytes.
 * Nothing else is stored, no checksum either, so that what tokens are compared with gets every byte there is.
 */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { PackedImages } from '../../data/index.ts';

export interface PixelShape {
  images: number;
  height: number;
  width: number;
  channels: 1 | 3;
  classes: number;
}

const magic = 0x31585054; // 'TPX1'
const headerBytes = 16;

const bitsOf = (classes: number): number => Math.max(1, Math.ceil(Math.log2(classes)));
const labelBytes = ({ images, classes }: PixelShape): number => Math.ceil((images * bitsOf(classes)) / 8);

/** Length of the file, before it is written. */
export function pixelFileBytes(shape: PixelShape): number {
  return headerBytes + labelBytes(shape) + shape.images * shape.height * shape.width * shape.channels;
}

/** The most images of this shape whose file takes at most `bytes`. */
export function imagesWithin(bytes: number, shape: Omit<PixelShape, 'images'>): number {
  const bits = shape.height * shape.width * shape.channels * 8 + bitsOf(shape.classes);
  const images = Math.max(0, Math.floor(((bytes - headerBytes) * 8) / bits));
  return pixelFileBytes({ ...shape, images }) <= bytes ? images : images - 1;
}

export function writePixelFile(path: string, images: PackedImages): void {
  const [height, width, channels] = images.shape;
  const shape: PixelShape = { images: images.size, height, width, channels, classes: images.classes.length };
  const head = Buffer.alloc(headerBytes + labelBytes(shape));
  head.writeUInt32LE(magic, 0);
  head.writeUInt32LE(shape.images, 4);
  [height, width, channels, shape.classes].forEach((value, i) => head.writeUInt16LE(value, 8 + 2 * i));
  const bits = bitsOf(shape.classes);
  images.labels.forEach((label, index) => {
    for (let bit = 0; bit < bits; bit++) {
      const at = index * bits + bit;
      head[headerBytes + (at >> 3)]! |= ((label >> bit) & 1) << (at & 7);
    }
  });
  const file = openSync(path, 'w');
  try {
    writeSync(file, head);
    writeSync(file, images.pixels);
  } finally {
    closeSync(file);
  }
}

/** Reads what `writePixelFile` wrote. @throws Error where the length is not what the header says. */
export function readPixelFile(path: string, classes: readonly string[]): PackedImages {
  const bytes = readFileSync(path);
  const refuse = (why: string): never => {
    throw new Error(`[demo] ${path} ${why}; remove it and run the demo again`);
  };
  if (bytes.length < headerBytes || bytes.readUInt32LE(0) !== magic) refuse('is not a pixel file');
  const [height, width, channels, classCount] = [8, 10, 12, 14].map((at) => bytes.readUInt16LE(at)) as [number, number, 1 | 3, number];
  const shape: PixelShape = { images: bytes.readUInt32LE(4), height, width, channels, classes: classCount };
  if (pixelFileBytes(shape) !== bytes.length) refuse(`has ${bytes.length} bytes, its header says ${pixelFileBytes(shape)}`);
  if (classCount !== classes.length) refuse(`has ${classCount} classes, expected ${classes.length}`);
  const bits = bitsOf(classCount);
  const labels = Int32Array.from({ length: shape.images }, (_, index) => {
    let label = 0;
    for (let bit = 0; bit < bits; bit++) {
      const at = index * bits + bit;
      label |= ((bytes[headerBytes + (at >> 3)]! >> (at & 7)) & 1) << bit;
    }
    return label;
  });
  const pixels = new Uint8Array(bytes.subarray(headerBytes + labelBytes(shape)));
  return new PackedImages({ pixels, labels, shape: [height, width, channels], classes, source: path });
}
