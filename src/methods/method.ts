/** A method: one published way to save bytes, behind the contract of its kind. */
import { z } from 'zod';
import { type Contract, type ContractTypes, contracts } from './contract.ts';

/** What a method saves. */
export const savings = ['data', 'weights', 'activations', 'kv', 'index', 'memory', 'time'] as const;
export type Saving = (typeof savings)[number];

/** The publication that a method implements. */
export interface Paper {
  title: string;
  /** As cited: 'Li et al.'. */
  authors: string;
  year: number;
  /** arXiv number, e.g. '2404.14469'. */
  arxiv?: string;
  /** Where it was published, e.g. 'ECCV 2024'. */
  venue?: string;
}

export interface Method<C extends Contract = Contract, S extends z.ZodType = z.ZodType> {
  /** The folder's name: lower-case words joined by '-'. */
  readonly id: string;
  readonly contract: C;
  readonly title: string;
  readonly paper: Paper;
  readonly saves: readonly Saving[];
  /** One schema for flags, documents, forms and files. Every field has a default: `{}` is the published configuration. */
  readonly config: S;
  /**
   * The best configuration whose `bytes` are within `budget` (bytes). Refuses with a `BudgetError`, naming the budget and the least
   * that works.
   */
  fit(budget: number, target: ContractTypes[C]['target']): z.output<S>;
  /** Bytes that the result will occupy, at most: what is measured never exceeds it. */
  bytes(config: z.output<S>, target: ContractTypes[C]['target']): number;
  /** The configuration that goes with a file that this method made, from the file alone. Absent where any configuration does. */
  configOf?(path: string): z.output<S>;
  create(config: z.output<S>): ContractTypes[C]['made'];
}

/** A method of any contract and any configuration; `config.parse` is what makes a configuration for it. */
// biome-ignore lint/suspicious/noExplicitAny: the schema's type is known to the method alone
export type AnyMethod = { [C in Contract]: Method<C, any> }[Contract];
// biome-ignore lint/suspicious/noExplicitAny: as above
export type MethodOf<C extends Contract> = Method<C, any>;

/** A line of the generated registry: what the folder's path says, and how to load the rest. */
export interface RegistryEntry {
  readonly id: string;
  readonly contract: Contract;
  readonly load: () => Promise<AnyMethod>;
}

const idPattern = /^[a-z0-9]+(?:[-.][a-z0-9]+)*$/;

/**
 * Declares a method; a method folder's `index.ts` exports it as default.
 *
 * @example
 * export default defineMethod({
 *   id: 'half-size', contract: 'codec', title: 'Images at half size', paper: { title, authors: 'Doe et al.', year: 2024 }, saves: ['data'],
 *   config: z.object({ scale: z.number().min(0.1).max(1).default(0.5).describe('side of the stored image, of the full side') }),
 *   fit(budget, target) { ... }, bytes(config, target) { ... }, create(config) { ... },
 * });
 *
 * @throws TypeError where the metadata is wrong: the id's form, no saving, a schema that does not parse `{}`.
 */
export function defineMethod<C extends Contract, S extends z.ZodType>(method: Method<C, S>): Method<C, S> {
  const refuse = (why: string): never => {
    throw new TypeError(`[${method.id}] ${why}`);
  };
  if (!idPattern.test(method.id)) refuse(`the id is not lower-case words joined by '-'; name the method as its folder`);
  if (!Object.hasOwn(contracts, method.contract))
    refuse(`there is no contract '${method.contract}'; use one of ${Object.keys(contracts).join(', ')}`);
  if (method.saves.length === 0) refuse(`saves nothing; list one or more of ${savings.join(', ')}`);
  const defaults = method.config.safeParse({});
  if (!defaults.success)
    refuse(`its config does not parse {} (${z.prettifyError(defaults.error).replaceAll('\n', ' ')}); give every field a default`);
  return Object.freeze(method);
}
