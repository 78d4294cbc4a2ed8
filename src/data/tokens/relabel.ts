/** Numbering codes by descending frequency: escapes become rare, and a table of frequencies falls. */

/** How often each of K codes occurs; adds to `counts` if given. @throws RangeError for a token >= K. */
export function countTokens(tokens: ArrayLike<number>, K: number, counts: Float64Array = new Float64Array(K)): Float64Array {
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i]!;
    if (!(token >= 0 && token < K)) throw new RangeError(`[tokens] token ${token} at ${i} is not in 0..${K - 1}`);
    counts[token]!++;
  }
  return counts;
}

export interface Relabelling {
  /** [K] the new number of each old code. */
  newOf: Uint16Array;
  /** [K] the old number of each new code: the order of the codebook's rows. */
  oldOf: Uint16Array;
}

/** The most frequent code becomes 0; ties keep their order. */
export function byFrequency(counts: ArrayLike<number>): Relabelling {
  const oldOf = Uint16Array.from({ length: counts.length }, (_, code) => code).sort((a, b) => counts[b]! - counts[a]! || a - b);
  const newOf = new Uint16Array(counts.length);
  oldOf.forEach((old, code) => {
    newOf[old] = code;
  });
  return { newOf, oldOf };
}

/** Renumbers tokens in place. */
export function relabel<T extends Uint16Array | Int32Array>(tokens: T, { newOf }: Relabelling): T {
  for (let i = 0; i < tokens.length; i++) tokens[i] = newOf[tokens[i]!]!;
  return tokens;
}

/** The rows of a codebook [K, channels] in the new order. */
export function relabelRows(codebook: Float32Array, { oldOf }: Relabelling): Float32Array {
  const channels = codebook.length / oldOf.length;
  if (!Number.isInteger(channels))
    throw new RangeError(`[tokens] a codebook of ${codebook.length} numbers has no ${oldOf.length} equal rows`);
  const out = new Float32Array(codebook.length);
  oldOf.forEach((old, code) => out.set(codebook.subarray(old * channels, (old + 1) * channels), code * channels));
  return out;
}

/** Bits per token that no code of single tokens with one fixed law can undercut: the entropy of the counts. */
export function entropyBits(counts: ArrayLike<number>): number {
  let total = 0;
  let sum = 0;
  for (let s = 0; s < counts.length; s++) {
    const count = counts[s]!;
    total += count;
    if (count > 0) sum += count * Math.log2(count);
  }
  return total === 0 ? 0 : Math.log2(total) - sum / total;
}
