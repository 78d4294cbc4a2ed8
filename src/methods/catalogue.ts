/** The methods that there are: listed from the build's catalogue, which loads none of them; loaded by id. */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { type Contract, type ContractName, contracts } from './contract.ts';
import { type AnyMethod, type MethodOf, type Paper, type RegistryEntry, type Saving, savings } from './method.ts';
import { registry } from './registry.generated.ts';

/** A method without its code. */
export interface CatalogueItem {
  id: string;
  contract: ContractName;
  title: string;
  paper: Paper;
  saves: readonly Saving[];
  /** JSON schema of the configuration. */
  config: Record<string, unknown>;
}

const CatalogueFile = z.array(
  z.object({
    id: z.string(),
    contract: z.enum(Object.keys(contracts) as [ContractName, ...ContractName[]]),
    title: z.string(),
    paper: z.object({
      title: z.string(),
      authors: z.string(),
      year: z.int(),
      arxiv: z.string().exactOptional(),
      venue: z.string().exactOptional(),
    }),
    saves: z.array(z.enum(savings)),
    config: z.record(z.string(), z.unknown()),
  }),
);

/** Where the build writes the catalogue: beside the compiled registry. */
export const cataloguePath = new URL('./catalogue.json', import.meta.url);

/** What a method says about itself. */
export function describe(method: AnyMethod): CatalogueItem {
  const { id, contract, title, paper, saves } = method;
  return { id, contract, title, paper, saves, config: z.toJSONSchema(method.config, { io: 'input' }) };
}

/** Every registered method, loaded and described, in the registry's order. */
export async function describeAll(entries: readonly RegistryEntry[] = registry): Promise<CatalogueItem[]> {
  return Promise.all(entries.map(async (entry) => describe(await loadEntry(entry))));
}

/** Every method, by contract and id. @throws Error where the package was compiled but not built. */
export function catalogue(): CatalogueItem[] {
  let text: string;
  try {
    text = readFileSync(cataloguePath, 'utf8');
  } catch (error) {
    throw new Error(`[methods] the catalogue is missing (${(error as Error).message}); run npm run build`);
  }
  return CatalogueFile.parse(JSON.parse(text));
}

/** Loads a method. @throws Error naming near ids where there is none, TypeError where the folder and the method disagree. */
export async function loadMethod(id: string): Promise<AnyMethod> {
  const entry = registry.find((one) => one.id === id);
  if (!entry) {
    const asked = String(id);
    const near = registry.filter((one) => one.id.includes(asked) || asked.includes(one.id)).map((one) => one.id);
    throw new Error(
      `[methods] there is no method '${asked}'; ${near.length > 0 ? `did you mean ${near.join(', ')}?` : 'thimble methods lists them'}`,
    );
  }
  return loadEntry(entry);
}

/** Loads a method of a contract. @throws Error also where the method is of another contract. */
export async function loadMethodOf<C extends Contract>(contract: C, id: string): Promise<MethodOf<C>> {
  const method = await loadMethod(id);
  if (method.contract !== contract)
    throw new Error(`[methods] '${id}' is of the contract ${method.contract}, not ${contract}; thimble methods lists them`);
  return method as unknown as MethodOf<C>;
}

async function loadEntry(entry: RegistryEntry): Promise<AnyMethod> {
  const method = await entry.load();
  if (method.id !== entry.id || method.contract !== entry.contract)
    throw new TypeError(`[methods] the folder ${entry.contract}/${entry.id} holds ${method.contract}/${method.id}; rename one of them`);
  return method;
}
