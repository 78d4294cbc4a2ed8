export interface SizeOptions {
  /** Height and width are multiples of this. Default 4. */
  multipleOf?: number;
  /** The longer side is at most this. Default 256. */
  maxSide?: number;
}

/**
 * One size for images of many sizes: the most common one if more than half have it, else the median height and width;
 * scaled down to `maxSide`, then rounded to `multipleOf`.
 *
 * @returns [height, width]
 */
export function chooseSize(
  sizes: readonly { height: number; width: number }[],
  { multipleOf = 4, maxSide = 256 }: SizeOptions = {},
): [number, number] {
  if (sizes.length === 0) throw new RangeError('[images] no sizes to choose from');
  const counts = new Map<string, number>();
  let best = '';
  for (const { height, width } of sizes) {
    const key = `${height} ${width}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
    if (counts.get(key)! > (counts.get(best) ?? 0)) best = key;
  }
  const [height, width] =
    counts.get(best)! * 2 > sizes.length
      ? (best.split(' ').map(Number) as [number, number])
      : [median(sizes.map((s) => s.height)), median(sizes.map((s) => s.width))];
  const scale = Math.min(1, maxSide / Math.max(height, width));
  const round = (side: number): number => Math.max(multipleOf, Math.round((side * scale) / multipleOf) * multipleOf);
  return [round(height), round(width)];
}

function median(values: number[]): number {
  values.sort((a, b) => a - b);
  return values[Math.floor((values.length - 1) / 2)]!;
}
