/** bench.json: the command behind a method's figures, what is expected of it, and what was seen. */
import { z } from 'zod';

const figures = z.record(z.string(), z.number());

const Expected = z.strictObject({
  /** Where the figure stands in the command's JSON: field names and list indices or `name`s, joined by dots ('arms.tokens.accuracy'). */
  figure: z.string().min(1),
  value: z.number(),
  /** In the figure's own unit. */
  tolerance: z.number().nonnegative(),
  /** 'about': within the tolerance on either side; the others let the figure be as good as it likes. */
  is: z.enum(['about', 'at least', 'at most']).default('about'),
  note: z.string().optional(),
});

const Seen = z.strictObject({
  date: z.iso.date(),
  /** Processor, cores and memory, as one line. */
  machine: z.string().min(1),
  versions: z.record(z.string(), z.string()),
  seeds: z.array(z.int().nonnegative()).min(1),
  /** Means over the seeds. */
  figures,
});

const fields = {
  /** Program and arguments, run without a shell; 'thimble' and 'node' are this package and this Node. '{seed}' is replaced. */
  command: z.array(z.string().min(1)).min(1),
  /** Environment variables, besides those of the caller. */
  env: z.record(z.string(), z.string()).optional(),
  data: z.strictObject({ name: z.string().min(1), source: z.string().min(1) }),
  /** What the method is compared with, in the same bytes. */
  baseline: z.string().min(1),
  seeds: z.array(z.int().nonnegative()).min(1),
  expected: z.array(Expected).min(1),
  seen: z.array(Seen).default([]),
};

export const Bench = z.strictObject({
  ...fields,
  /** Further checks by name, such as those that want a GPU or data that the package does not ship. */
  further: z.record(z.string().regex(/^[a-z0-9-]+$/), z.strictObject(fields)).default({}),
});

export type Bench = z.output<typeof Bench>;
/** One check of a bench. */
export type BenchCheck = Omit<Bench, 'further'>;
export type Expected = Bench['expected'][number];
export type Seen = Bench['seen'][number];

/** @throws Error naming `path` and every field that is wrong. */
export function parseBench(text: string, path: string): Bench {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new Error(`[bench] ${path} is not JSON: ${(error as Error).message}`);
  }
  const parsed = Bench.safeParse(json);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'the file'}: ${issue.message}`);
  throw new Error(`[bench] ${path} is not a bench: ${faults.join('; ')}`);
}

/** The number at a figure's path; undefined where there is none. A list is entered by index or by its items' `name`. */
export function figureAt(json: unknown, path: string): number | undefined {
  let at: unknown = json;
  for (const step of path.split('.')) {
    if (typeof at !== 'object' || at === null) return undefined;
    at =
      Array.isArray(at) && !/^\d+$/.test(step) ? at.find((item) => item?.name === step) : Object.getOwnPropertyDescriptor(at, step)?.value;
  }
  return typeof at === 'number' ? at : undefined;
}

/** Does a measured figure meet what was expected of it? NaN never does. */
export function meets({ value, tolerance, is }: Expected, measured: number): boolean {
  const low = is === 'at most' || measured >= value - tolerance;
  const high = is === 'at least' || measured <= value + tolerance;
  return low && high && !Number.isNaN(measured);
}
