/**
 * Knapsacks: the choice of most value within a byte budget. Dynamic programming over undominated (bytes, value) states
 * (Nemhauser and Ullmann 1969), pruned by a Lagrangian bound; sizes are exact bytes, never scaled. Only where the list
 * of states would outgrow `maxStates` is it thinned, and then the result says by how much it can fall short.
 */
import { BudgetError } from './budget.ts';

export interface Item {
  /** Cost: a whole number of bytes. */
  bytes: number;
  /** Worth: any finite number, larger is better. */
  value: number;
}

export interface Choice {
  /** For each group the index of the chosen item; for `knapsack` 1 (taken) or 0. */
  choice: number[];
  bytes: number;
  value: number;
  /** No choice within the budget is worth more than `value + gap`. 0: this is the optimum. */
  gap: number;
}

export interface KnapsackOptions {
  /** Undominated states to keep per group; memory is 8 bytes x groups x states. Default 16384. */
  maxStates?: number;
  /** Who asks; the name in errors. */
  who?: string;
}

/** 0/1 knapsack: any subset of `items` within `budget` bytes. @throws RangeError for sizes or values that are no numbers. */
export function knapsack(items: readonly Item[], budget: number, options?: KnapsackOptions): Choice {
  return multipleChoiceKnapsack(
    items.map((item) => [{ bytes: 0, value: 0 }, item]),
    budget,
    options,
  );
}

/**
 * Exactly one item of each group, within `budget` bytes in all: one bit width per layer, one rank per matrix.
 * @throws BudgetError where even the lightest item of every group exceeds the budget; RangeError for malformed items.
 */
export function multipleChoiceKnapsack(
  groups: readonly (readonly Item[])[],
  budget: number,
  { maxStates = 1 << 14, who = 'knapsack' }: KnapsackOptions = {},
): Choice {
  checkItems(groups, who);
  const lightest = groups.map((group) => group.reduce((least, item) => Math.min(least, item.bytes), Infinity));
  const least = lightest.reduce((sum, bytes) => sum + bytes, 0);
  if (least > budget)
    throw new BudgetError({
      who,
      budget,
      needed: least,
      because: `the lightest of each of ${groups.length} groups`,
      wayOut: 'raise the budget',
    });

  const { lambda, start, bound } = relax(groups, budget);
  // What the groups from g on add at most (in value less lambda x bytes), and at least in bytes.
  const restBound = new Float64Array(groups.length + 1);
  const restBytes = new Float64Array(groups.length + 1);
  for (let g = groups.length - 1; g >= 0; g--) {
    restBound[g] = restBound[g + 1]! + Math.max(...groups[g]!.map((item) => item.value - lambda * item.bytes));
    restBytes[g] = restBytes[g + 1]! + lightest[g]!;
  }
  const floor = start.value - 1e-9 * (Math.abs(start.value) + Math.abs(bound) + 1); // rounding must not prune the optimum

  const stages: { parent: Int32Array; item: Int32Array }[] = [];
  let states: State[] = [{ bytes: 0, value: 0, parent: -1, item: -1 }];
  let lost = 0;
  for (const [g, group] of groups.entries()) {
    const next: State[] = [];
    for (const [parent, state] of states.entries()) {
      for (const [item, { bytes: more, value: gain }] of group.entries()) {
        const bytes = state.bytes + more;
        const value = state.value + gain;
        if (bytes + restBytes[g + 1]! > budget) continue;
        if (value + restBound[g + 1]! + lambda * (budget - bytes) < floor) continue;
        next.push({ bytes, value, parent, item });
      }
    }
    states = undominated(next);
    if (states.length > maxStates) {
      const width = (states.at(-1)!.value - states[0]!.value) / maxStates;
      lost += width;
      states = thin(states, width);
    }
    stages.push({ parent: Int32Array.from(states, (s) => s.parent), item: Int32Array.from(states, (s) => s.item) });
  }

  const best = states.at(-1);
  if (!best || best.value < start.value) return { ...start, gap: Math.max(0, Math.min(lost, bound - start.value)) };
  const choice = new Array<number>(groups.length);
  for (let g = groups.length - 1, at = states.length - 1; g >= 0; g--) {
    choice[g] = stages[g]!.item[at]!;
    at = stages[g]!.parent[at]!;
  }
  const gap = lost === 0 ? 0 : Math.max(0, Math.min(lost, bound - best.value));
  return { choice, bytes: best.bytes, value: best.value, gap };
}

interface State extends Item {
  parent: number;
  item: number;
}

function checkItems(groups: readonly (readonly Item[])[], who: string): void {
  for (const [g, group] of groups.entries()) {
    if (group.length === 0) throw new RangeError(`[${who}] group ${g} of ${groups.length} is empty; give each group an item`);
    for (const [i, { bytes, value }] of group.entries())
      if (!Number.isSafeInteger(bytes) || bytes < 0 || !Number.isFinite(value))
        throw new RangeError(`[${who}] item ${i} of group ${g} has ${bytes} bytes and value ${value}; whole bytes >= 0 and a finite value`);
  }
}

/** States by rising bytes and strictly rising value: for each size only the best that costs no more. */
function undominated(states: State[]): State[] {
  states.sort((a, b) => a.bytes - b.bytes || b.value - a.value);
  let best = -Infinity;
  return states.filter(({ value }) => {
    const better = value > best;
    if (better) best = value;
    return better;
  });
}

/** The lightest state of each band of values: each state dropped had a lighter neighbour within `width` of its value. */
function thin(states: State[], width: number): State[] {
  let band = -1;
  return states.filter((state) => {
    const own = Math.floor((state.value - states[0]!.value) / width);
    const first = own !== band;
    band = own;
    return first;
  });
}

/**
 * The Lagrangian dual min over lambda >= 0 of  sum_g max_i (value - lambda bytes) + lambda budget  bounds every choice;
 * its feasible side is a first choice.
 */
function relax(groups: readonly (readonly Item[])[], budget: number): { lambda: number; bound: number; start: Choice } {
  const solve = (lambda: number) => {
    const choice = groups.map((group) => {
      let best = 0;
      for (let i = 1; i < group.length; i++) {
        const [a, b] = [group[i]!, group[best]!];
        const better = a.value - lambda * a.bytes - (b.value - lambda * b.bytes);
        if (better > 0 || (better === 0 && a.bytes < b.bytes)) best = i;
      }
      return best;
    });
    const sum = (of: (item: Item) => number) => choice.reduce((total, i, g) => total + of(groups[g]![i]!), 0);
    const bytes = sum((item) => item.bytes);
    const value = sum((item) => item.value);
    return { lambda, choice, bytes, value, bound: value + lambda * (budget - bytes) };
  };
  let high = solve(0);
  if (high.bytes > budget) {
    let low = high;
    for (let lambda = 1e-9; (high = solve(lambda)).bytes > budget && lambda < 1e300; lambda *= 16) low = high;
    for (let i = 0; i < 60; i++) {
      const middle = solve((low.lambda + high.lambda) / 2);
      if (middle.bytes > budget) low = middle;
      else high = middle;
    }
  }
  return { lambda: high.lambda, bound: high.bound, start: fill(groups, high, budget) };
}

/** Spends what a choice leaves of the budget: the single exchange that gains most, until none fits. */
function fill(groups: readonly (readonly Item[])[], from: Omit<Choice, 'gap'>, budget: number): Choice {
  let { bytes, value } = from;
  const choice = [...from.choice];
  for (;;) {
    let gain = 0;
    let at: readonly [number, number] = [0, 0];
    for (const [g, group] of groups.entries()) {
      const old = group[choice[g]!]!;
      for (const [i, item] of group.entries())
        if (item.value - old.value > gain && bytes + item.bytes - old.bytes <= budget) [gain, at] = [item.value - old.value, [g, i]];
    }
    if (gain === 0) break;
    bytes += groups[at[0]]![at[1]]!.bytes - groups[at[0]]![choice[at[0]]!]!.bytes;
    choice[at[0]] = at[1];
    value = choice.reduce((sum, i, g) => sum + groups[g]![i]!.value, 0);
  }
  return { choice, bytes, value, gap: 0 };
}
