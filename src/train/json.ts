/** Plain data that travels in a file's metadata: checked when it is written, compared when a run goes on. */

/** Throws, with the place, for what JSON would change in silence: NaN, infinities, functions, typed arrays, class instances. */
export function assertJson(value: unknown, who: string, path = 'config', above: readonly unknown[] = []): void {
  if (value === null || value === undefined || typeof value === 'boolean' || typeof value === 'string') return;
  if (typeof value === 'number' && Number.isFinite(value)) return;
  if (above.includes(value)) throw new TypeError(`[${who}] ${path} contains itself, which JSON does not hold; leave it out`);
  const within = [...above, value];
  if (Array.isArray(value)) {
    const hole = Array.from(value).indexOf(undefined);
    if (hole >= 0) throw new TypeError(`[${who}] ${path}[${hole}] is undefined, which JSON makes null of; leave it out, or write null`);
    return value.forEach((x, i) => assertJson(x, who, `${path}[${i}]`, within));
  }
  const proto: unknown = typeof value === 'object' ? Object.getPrototypeOf(value) : undefined;
  if (proto !== Object.prototype && proto !== null) {
    const what = typeof value === 'object' ? `a ${value.constructor.name}` : String(value).slice(0, 40);
    throw new TypeError(`[${who}] ${path} is ${what}, which JSON does not hold; give numbers, strings, lists and plain objects`);
  }
  for (const [key, x] of Object.entries(value as object)) assertJson(x, who, `${path}.${key}`, within);
}

/** Where two plain values differ: `model.width: 128, now 256`. Keys that are undefined count as absent; their order does not count. */
export function differences(before: unknown, now: unknown, path = ''): string[] {
  if (before === now) return []; // -0 too, which JSON holds as 0
  if (isObject(before) && isObject(now) && Array.isArray(before) === Array.isArray(now)) {
    const keys = new Set([...Object.keys(before), ...Object.keys(now)]);
    return [...keys].flatMap((key) => differences(own(before, key), own(now, key), path ? `${path}.${key}` : key));
  }
  const show = (x: unknown): string => (x === undefined ? 'absent' : JSON.stringify(x).slice(0, 60));
  return [`${path || 'the whole'}: ${show(before)}, now ${show(now)}`];
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

export const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

const own = (object: Readonly<Record<string, unknown>>, key: string): unknown => (Object.hasOwn(object, key) ? object[key] : undefined);
