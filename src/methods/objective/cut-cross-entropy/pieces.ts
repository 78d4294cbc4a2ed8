/** Byte-pair encoding (Sennrich et al. 2016, arXiv 1508.07909) of a text by the first merges of a published list. */

/** GPT-2 writes the bytes that do not print as letters from U+0100 on. */
function letters(): string[] {
  const prints = (b: number): boolean => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCharCode(prints(b) ? b : next++));
}

/** Ids below `vocabulary`: the 256 bytes, then one piece a line of `merges` in its order. Words take the space before them. */
export function encodePieces(text: string, merges: string, vocabulary: number): Int32Array {
  const alphabet = letters();
  const rules = merges.split('\n').filter((line) => line && !line.startsWith('#'));
  if (rules.length < vocabulary - 256)
    throw new RangeError(`[bpe] ${rules.length} merges make no vocabulary of ${vocabulary}; use a smaller one`);
  const idOf = new Map(alphabet.map((letter, id) => [letter, id]));
  const rank = new Map<string, number>();
  rules.slice(0, vocabulary - 256).forEach((rule, i) => {
    rank.set(rule, i);
    idOf.set(rule.replace(' ', ''), 256 + i);
  });

  const encode = (word: string): number[] => {
    const parts = Array.from(Buffer.from(word, 'utf8'), (byte) => alphabet[byte]!);
    for (;;) {
      let best = Number.POSITIVE_INFINITY;
      let at = -1;
      for (let i = 0; i + 1 < parts.length; i++) {
        const r = rank.get(`${parts[i]} ${parts[i + 1]}`) ?? Number.POSITIVE_INFINITY;
        if (r < best) [best, at] = [r, i];
      }
      if (at < 0) return parts.map((part) => idOf.get(part)!);
      parts.splice(at, 2, `${parts[at]}${parts[at + 1]}`);
    }
  };
  const known = new Map<string, number[]>();
  const ids: number[] = [];
  for (const [word] of text.matchAll(/ ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+/gu)) {
    let pieces = known.get(word);
    if (!pieces) known.set(word, (pieces = encode(word)));
    ids.push(...pieces);
  }
  return Int32Array.from(ids);
}
