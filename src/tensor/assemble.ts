/** Traced results -> a program with its memory planned, and the account of that memory. */
import type { Device, Executable, Target } from './device.ts';
import type { Value } from './graph.ts';
import { lower } from './lower/lower.ts';
import { type Block, canOverwrite, isIdle, lifetimes, place, Sharing } from './lower/memory.ts';
import { type BufferSpec, callBytes, type Program } from './lower/program.ts';
import { expandFused } from './passes/expand.ts';
import { simplify } from './passes/simplify.ts';
import type { TensorType } from './shape.ts';

/** Where the memory of a result comes from. */
export type ResultSource = { kind: 'new' } | { kind: 'donated' | 'input'; input: number };

/** What a program takes, before it runs. All sizes in bytes. */
export interface Plan {
  /** Everything alive at the worst moment: arguments, results that are not donated arguments, and the arena. */
  peakBytes: number;
  argumentBytes: number;
  resultBytes: number;
  /** Temporaries, at their planned offsets. */
  arenaBytes: number;
  /** The most bytes of temporaries that are alive at once: no arena can be smaller. */
  arenaLowerBound: number;
  /** arenaBytes / arenaLowerBound - 1. */
  gap: number;
  flops: number;
  calls: number;
  /** What each call computes and moves. */
  work: readonly { flops: number; bytes: number }[];
}

export interface Assembled {
  program: Program;
  /** inputs[k] is the input index that external buffer k is; results follow. */
  externalInputs: number[];
  externalResults: number[];
  sources: ResultSource[];
  resultTypes: TensorType[];
  plan: Plan;
}

/**
 * @param inputTypes type of every input, by index.
 * @param donated input indices whose memory may be reused.
 */
export function assemble(
  target: Target,
  traced: readonly Value[],
  inputTypes: readonly TensorType[],
  donated: ReadonlySet<number>,
): Assembled {
  const { results } = simplify(expandFused(traced, target));
  const lowered = lower(results, donated, target);
  const { calls, bufferBytes } = lowered;
  const inputOf = new Map([...lowered.inputs].map(([input, buffer]) => [buffer, input]));
  const life = lifetimes(calls, bufferBytes.length, inputOf.keys(), lowered.results);
  const sharing = new Sharing(bufferBytes.length);

  // results: passed-through inputs, repeated ones, donated memory, or new
  const sources: ResultSource[] = [];
  const free = new Set(
    [...lowered.inputs].flatMap(([input, buffer]) => (donated.has(input) && !lowered.results.includes(buffer) ? [buffer] : [])),
  );
  lowered.results.forEach((buffer) => {
    if (inputOf.has(buffer)) sources.push({ kind: 'input', input: inputOf.get(buffer)! });
    else {
      const start = life[buffer]!.first;
      const fits = (b: number): boolean =>
        inputTypes[inputOf.get(b)!]!.bytes === bufferBytes[buffer] &&
        (life[b]!.last < start || (life[b]!.last === start && calls[start] !== undefined && canOverwrite(calls[start], b, buffer)));
      const donor = [...free].filter(fits).sort((a, b) => life[b]!.last - life[a]!.last || inputOf.get(a)! - inputOf.get(b)!)[0];
      if (donor === undefined) sources.push({ kind: 'new' });
      else {
        free.delete(donor);
        sharing.join(buffer, donor);
        sources.push({ kind: 'donated', input: inputOf.get(donor)! });
      }
    }
  });

  // temporaries: a pointwise call may write over an operand that it is the last to read
  const isResult = new Set(lowered.results);
  const isTemporary = (b: number): boolean => !isResult.has(b) && !inputOf.has(b);
  calls.forEach((call, i) => {
    for (const w of call.writes) {
      if (!isTemporary(w.buffer) || life[w.buffer]!.first !== i || sharing.find(w.buffer) !== w.buffer) continue;
      const from = call.reads.find((v) => {
        const root = sharing.find(v.buffer);
        return (
          isTemporary(v.buffer) &&
          root !== w.buffer &&
          life[root]!.last === i &&
          life[v.buffer]!.last === i &&
          bufferBytes[v.buffer] === bufferBytes[w.buffer] &&
          isTemporary(root) &&
          canOverwrite(call, v.buffer, w.buffer) &&
          !call.writes.some((o) => o !== w && sharing.find(o.buffer) === root)
        );
      });
      if (!from) continue;
      const root = sharing.find(from.buffer);
      sharing.join(w.buffer, root);
      life[root]!.last = Math.max(life[root]!.last, life[w.buffer]!.last);
    }
  });

  const roots = bufferBytes.flatMap((_, b) => (isTemporary(b) && sharing.find(b) === b && life[b]!.last >= 0 ? [b] : []));
  const blocks: Block[] = roots.map((b) => ({ bytes: bufferBytes[b]!, first: life[b]!.first, last: life[b]!.last }));
  const placed = place(blocks);

  const externalInputs = [...lowered.inputs.keys()].sort((a, b) => a - b);
  const externalResults = sources.flatMap((s, r) => (s.kind === 'new' ? [r] : []));
  const buffers: BufferSpec[] = bufferBytes.map((bytes) => ({ bytes, external: -1, offset: 0 }));
  externalInputs.forEach((input, k) => {
    buffers[lowered.inputs.get(input)!]!.external = k;
  });
  externalResults.forEach((r, k) => {
    buffers[lowered.results[r]!]!.external = externalInputs.length + k;
  });
  roots.forEach((b, i) => {
    buffers[b]!.offset = placed.offsets[i]!;
  });
  bufferBytes.forEach((_, b) => {
    const root = sharing.find(b);
    if (root !== b) Object.assign(buffers[b]!, { external: buffers[root]!.external, offset: buffers[root]!.offset });
  });

  const busy = calls.filter((c) => !isIdle(c, sharing, (b) => inputOf.has(b)));
  const argumentBytes = inputTypes.reduce((n, t) => n + t.bytes, 0);
  const resultBytes = externalResults.reduce((n, r) => n + traced[r]!.type.bytes, 0);
  return {
    program: { calls: busy, buffers, externals: externalInputs.length + externalResults.length, arenaBytes: placed.bytes },
    externalInputs,
    externalResults,
    sources,
    resultTypes: traced.map((v) => v.type),
    plan: {
      peakBytes: argumentBytes + resultBytes + placed.bytes,
      argumentBytes,
      resultBytes,
      arenaBytes: placed.bytes,
      arenaLowerBound: placed.lowerBound,
      gap: placed.lowerBound ? placed.bytes / placed.lowerBound - 1 : 0,
      flops: calls.reduce((n, c) => n + c.flops, 0),
      calls: busy.length,
      work: busy.map((c) => ({ flops: c.flops, bytes: callBytes(c) })),
    },
  };
}

/** An assembled program on its device. */
export interface Loaded extends Assembled {
  device: Device;
  executable: Executable;
}
