/** This package, as installed. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { z } from 'zod';

/** The folder of package.json. */
export const packageRoot = new URL('../../', import.meta.url);

const Package = z.object({ version: z.string(), dependencies: z.record(z.string(), z.string()) });
const read = (url: URL) => Package.parse(JSON.parse(readFileSync(url, 'utf8')));

const own = read(new URL('package.json', packageRoot));
export const packageVersion = own.version;

/** Versions of what runs and of the dependencies, as installed; a dependency that is not there is left out. */
export function versions(): Record<string, string> {
  const require = createRequire(packageRoot);
  const found: Record<string, string> = { thimble: own.version, node: process.versions.node };
  for (const name of Object.keys(own.dependencies)) {
    // Not through `require.resolve('<name>/package.json')`: a package's exports may hide it.
    const folder = require.resolve.paths(name)?.map((path) => `${path}/${name}/package.json`);
    const text = folder?.map(readIfThere).find((one) => one !== null);
    if (text) found[name] = z.object({ version: z.string() }).parse(JSON.parse(text)).version;
  }
  return found;
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
