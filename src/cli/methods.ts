import { type CatalogueItem, catalogue } from '../methods/catalogue.ts';
import { contracts } from '../methods/contract.ts';
import { type Cell, table } from './output.ts';
import { defineVerb, type NoFlags } from './verb.ts';

/** What is read of a JSON schema. */
interface Schema {
  type?: string;
  default?: unknown;
  description?: string;
  enum?: readonly unknown[];
  anyOf?: readonly Schema[];
  properties?: Record<string, Schema>;
}

/** A row for each setting; those inside an object by their path, `tokenizer.patch`. */
function settings(schema: Schema, path = ''): Cell[][] {
  return Object.entries(schema.properties ?? {}).flatMap(([key, field]) => {
    const name = path + key;
    const inside = [field, ...(field.anyOf ?? [])].find(({ properties }) => properties);
    if (inside && inside === field) return settings(field, `${name}.`);
    const kind = field.enum?.join(' | ') ?? field.type ?? 'choice';
    const own = [name, kind, JSON.stringify(field.default), field.description ?? ''];
    return inside ? [own, ...settings(inside, `${name}.`)] : [own];
  });
}

/** One method with its configuration: what `thimble methods <id>` prints. */
function details({ id, contract, title, paper, saves, config }: CatalogueItem): string {
  const source = [paper.venue ?? String(paper.year), paper.arxiv ? `arXiv ${paper.arxiv}` : ''].filter(Boolean).join(', ');
  const rows = settings(config);
  const lines = [
    `${id}: ${title}`,
    `${paper.authors}, ${paper.title} (${source})`,
    `contract ${contract}: ${contracts[contract]}`,
    `saves ${saves.join(', ')}`,
  ];
  return rows.length > 0 ? `${lines.join('\n')}\n\n${table(['config', 'type', 'default', ''], rows)}` : lines.join('\n');
}

/** `thimble methods [id]` */
export default defineVerb<NoFlags, [string?], { methods: CatalogueItem[]; id?: string }>({
  brief: 'List the methods: what each saves, and its paper',
  help: 'Lists every method of this package with its contract (what kind of decision it makes), what it saves, and its paper.\nWith an id: that method alone, with its configuration.',
  parameters: {
    positional: { kind: 'tuple', parameters: [{ brief: 'A method', placeholder: 'id', parse: String, optional: true }] },
  },
  run(_io, _flags, id) {
    const methods = catalogue();
    if (id === undefined) return { methods };
    const one = methods.filter((method) => method.id === id);
    if (one.length === 0) throw new Error(`[methods] there is no method '${id}'; thimble methods lists the ${methods.length} there are`);
    return { methods: one, id };
  },
  text({ methods, id }) {
    if (id !== undefined) return details(methods[0]!);
    const order = Object.keys(contracts);
    const rows = methods
      .toSorted((a, b) => order.indexOf(a.contract) - order.indexOf(b.contract) || a.id.localeCompare(b.id))
      .map(({ id, contract, saves, title, paper }) => [id, contract, saves.join(', '), title, `${paper.authors} ${paper.year}`]);
    return table(['method', 'contract', 'saves', 'title', 'paper'], rows);
  },
});
