/** Traces a function once per signature, plans its memory, and runs the plan from then on. */
import { assemble, type Loaded, type Plan } from './assemble.ts';
import { type Device, defaultDevice, withDevice } from './device.ts';
import { type Launch, launch } from './eager.ts';
import type { AnyCall } from './lower/program.ts';
import type { TensorType } from './shape.ts';
import { type Storage, Tensor, unscoped } from './tensor.ts';
import { currentTrace, Trace, within } from './trace.ts';
import { identityOf, isContainer, leaves, mapTree, structure } from './tree.ts';

export interface CompileOptions {
  /** Arguments whose memory the results may take over. Their tensors cannot be used afterwards. */
  donate?: readonly number[];
  /** Default: the device of the first tensor in the arguments; without one, the default device. */
  device?: Device;
  /** Name in error messages. */
  name?: string;
}

export interface Compiled<A extends unknown[], R> {
  (...args: A): R;
  /** As a call, on another thread: the event loop stays free. Await it before the next call. */
  async(...args: A): Promise<R>;
  /**
   * As a call; on a device with a queue it returns as soon as the call is in it. The results can be passed on at once, and reading them waits.
   * An error of the device then comes out of `fetch` or of a later call.
   */
  enqueue(...args: A): R;
  /** What a call with such arguments takes. Runs nothing and needs no numbers in the arguments. */
  plan(...args: A): Plan;
  /**
   * The op whose result is the first with a NaN or an infinity, or undefined. Runs the program once, without donating; for finding
   * out after a loss went wrong.
   */
  findNonFinite(...args: A): string | undefined;
  /** As a call, kernel call by kernel call, with the time of each on the device. */
  profile(...args: A): { result: R; calls: CallTime[] };
}

/** A kernel call and its milliseconds. */
export interface CallTime {
  call: AnyCall;
  ms: number;
}

interface Entry<R> extends Loaded {
  types: TensorType[];
  captured: Tensor[];
  donated: ReadonlySet<number>;
  build(results: readonly Tensor[]): R;
}

const MANY_SIGNATURES = 64;

/**
 * Compiles `fn`, a function of trees of tensors that returns a tree of tensors. It is traced at its first call with each signature (types and
 * structure of the arguments); numbers and other values in the arguments are part of the signature: pass what changes as tensors.
 */
export function compile<A extends unknown[], R>(fn: (...args: A) => R, options: CompileOptions = {}): Compiled<A, R> {
  if (typeof fn !== 'function') throw new TypeError(`[compile] ${String(fn)} is no function`);
  const name = options.name ?? (fn.name || 'compiled function');
  const { donate = [] } = options;
  if (!Array.isArray(donate) || !donate.every((at) => Number.isInteger(at) && at >= 0))
    throw new TypeError(`[compile] ${name}: donate is ${String(donate)}; list places of arguments, such as [0]`);
  const entries = new Map<string, Entry<R>>();
  const busy = new Set<Entry<R>>(); // the addresses of a program's arguments are part of it while it runs
  let recent: { entry: Entry<R>; args: unknown } | undefined;

  const deviceFor = (tensors: readonly Tensor[]): Device => options.device ?? tensors[0]?.storage.device ?? defaultDevice();
  const entryFor = (args: A, tensors: readonly Tensor[], donate: readonly number[]): Entry<R> => {
    const device = deviceFor(tensors);
    const signature = `${identityOf(device)}|${donate.join()}|${structure(args)}|${tensors.map((t) => t.type.key).join(';')}`;
    let entry = entries.get(signature);
    if (!entry) {
      entry = traceEntry(fn, args, tensors, donate, device);
      entries.set(signature, entry);
      if (entries.size === MANY_SIGNATURES)
        process.emitWarning(
          `[compile] ${name} was traced for ${MANY_SIGNATURES} signatures; numbers in its arguments probably change from call to call: pass them as tensors`,
        );
    }
    return entry;
  };
  const refuseBusy = (entry: Entry<R>): void => {
    if (busy.has(entry)) throw new Error(`[compile] ${name} is still running; await its async call before the next`);
  };
  const prepare = (args: A): { entry: Entry<R>; job: Launch } => {
    const tensors: Tensor[] = [];
    let entry = recent?.entry;
    if (!entry || !matches(recent!.args, args, tensors) || entry.device !== deviceFor(tensors)) {
      tensors.length = 0;
      tensors.push(...leaves(args));
      entry = entryFor(args, tensors, donate);
      recent = { entry, args: mapTree(args, (t) => new Slot(t.type)) };
    }
    refuseBusy(entry);
    const inputs = entry.captured.length ? [...tensors, ...entry.captured] : tensors;
    if (entry.donated.size) refuseAliases(name, inputs, entry.donated);
    return { entry, job: launch(entry, inputs, entry.donated, name) };
  };

  const call = (...args: A): R => {
    if (currentTrace()) return fn(...args); // inside another program it is part of that program
    const { entry, job } = prepare(args);
    return entry.build(job.run());
  };
  return Object.assign(call, {
    async: async (...args: A): Promise<R> => {
      const { entry, job } = prepare(args);
      busy.add(entry);
      try {
        return entry.build(await job.runAsync());
      } finally {
        busy.delete(entry);
      }
    },
    enqueue(...args: A): R {
      const { entry, job } = prepare(args);
      const { executable } = entry;
      return entry.build(job.run((buffers) => (executable.enqueue ? executable.enqueue(buffers) : executable.run(buffers))));
    },
    plan: (...args: A): Plan => entryFor(args, leaves(args), donate).plan,
    profile(...args: A): { result: R; calls: CallTime[] } {
      const { entry, job } = prepare(args);
      let ms: ArrayLike<number> = [];
      const results = job.run((buffers) => {
        if (!entry.executable.profile)
          throw new Error(`[compile] the device '${entry.device.name}' cannot time its calls; use cpu or cuda`);
        ms = entry.executable.profile(buffers);
      });
      return { result: entry.build(results), calls: entry.program.calls.map((call, i) => ({ call, ms: ms[i]! })) };
    },
    findNonFinite(...args: A): string | undefined {
      const tensors = leaves(args);
      const entry = entryFor(args, tensors, []);
      refuseBusy(entry);
      const job = launch(entry, [...tensors, ...entry.captured]);
      try {
        const index = entry.executable.findNonFinite(job.buffers);
        return index < 0 ? undefined : entry.program.calls[index]!.label;
      } finally {
        job.cancel();
      }
    },
  });
}

function traceEntry<A extends unknown[], R>(
  fn: (...args: A) => R,
  args: A,
  tensors: readonly Tensor[],
  donate: readonly number[],
  device: Device,
): Entry<R> {
  const trace = new Trace();
  const inputs = tensors.map((t) => trace.input(t.type));
  let i = 0;
  const traced = mapTree(args, () => inputs[i++]);
  const result = within(trace, () => withDevice(device, () => unscoped(() => fn(...traced)))); // constants that it makes lie where it runs, as long as it does
  if (result instanceof Promise) {
    result.catch(() => {}); // the rest of it fails, for want of a trace
    throw new TypeError('[compile] the function is asynchronous, but is traced in one go; await what it needs before, and pass it in');
  }
  const outputs = leaves(result).map((t) => trace.valueOf(t));
  const captured = [...trace.captured.keys()]; // of results too: a tensor from outside can be one

  const donated = new Set<number>();
  let at = 0;
  args.forEach((arg, a) => {
    const n = leaves(arg).length;
    if (donate.includes(a)) for (let k = at; k < at + n; k++) donated.add(k);
    at += n;
  });
  const types = tensors.map((t) => t.type);
  const assembled = assemble(device, outputs, [...types, ...captured.map((t) => t.type)], donated);
  return {
    ...assembled,
    device,
    executable: device.prepare(assembled.program),
    types,
    captured,
    donated,
    build(results) {
      let r = 0;
      return mapTree(result, () => results[r++]);
    },
  };
}

/** Stands for a tensor in the remembered arguments of the latest call. */
class Slot {
  readonly type: TensorType;
  constructor(type: TensorType) {
    this.type = type;
  }
}

/** Whether `tree` is like the remembered one; collects its tensors on the way. The fast path of a call: no strings are built. */
function matches(known: unknown, tree: unknown, tensors: Tensor[]): boolean {
  if (tree instanceof Tensor) {
    tensors.push(tree);
    return known instanceof Slot && known.type === tree.type;
  }
  if (Object.is(known, tree)) return true; // 0 and -0 are two numbers
  if (!isContainer(tree) || !isContainer(known) || known instanceof Slot) return false; // of others the object itself is part of the signature
  if (Array.isArray(tree)) {
    if (!Array.isArray(known) || known.length !== tree.length) return false;
    for (let i = 0; i < tree.length; i++) if (!matches(known[i], tree[i], tensors)) return false;
    return true;
  }
  if (Object.getPrototypeOf(tree) !== Object.getPrototypeOf(known)) return false;
  const keys = Object.keys(known);
  let n = 0;
  for (const k in tree) if (k !== keys[n++] || !matches(known[k], tree[k], tensors)) return false; // tensors are told apart by their order
  return n === keys.length;
}

function refuseAliases(name: string, tensors: readonly Tensor[], donated: ReadonlySet<number>): void {
  const storages = new Set<Storage>();
  for (const i of donated) storages.add(tensors[i]!.storage);
  const clash = storages.size < donated.size || tensors.some((t, i) => !donated.has(i) && storages.has(t.storage));
  if (clash)
    throw new Error(
      `[compile] ${name}: a donated tensor is passed twice, or used by the function itself; copy it first, or do not donate that argument`,
    );
}
