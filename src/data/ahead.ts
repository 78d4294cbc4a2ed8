/**
 * What `next` gives, in its order, `depth` of them under way while one is used; undefined ends it. An error is thrown when its turn comes, and the
 * end waits for what is under way.
 */
export async function* ahead<T>(next: () => Promise<T | undefined>, depth = 1): AsyncGenerator<T, void, undefined> {
  const under: Promise<T | undefined>[] = [];
  const start = (): void => {
    const one = next();
    one.catch(() => {});
    under.push(one);
  };
  try {
    for (start(); ; ) {
      const first = under.shift()!;
      while (under.length < depth) start();
      const value = await first;
      if (value === undefined) return;
      yield value;
    }
  } finally {
    await Promise.allSettled(under);
  }
}
