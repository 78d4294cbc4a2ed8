// Makes node_modules agree with package-lock.json, so that every npm script works as the first command on a fresh checkout.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

const packagesOf = (path) => {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages ?? {};
  } catch {
    return null;
  }
};

/**
 * The first package of the lock file that is absent or of another version in npm's record of what it installed; null when they
 * agree. Optional packages are left out: most of them are for other platforms.
 * @param {Record<string, {version?: string, optional?: boolean}>} locked
 * @param {Record<string, {version?: string}> | null} installed
 */
export function firstStale(locked, installed) {
  if (!installed) return 'node_modules';
  for (const [path, { version, optional }] of Object.entries(locked)) {
    if (path === '' || optional) continue;
    if (installed[path]?.version !== version) return path;
  }
  return null;
}

/** Runs `npm ci` when node_modules is missing or stale; ends the process where that fails. */
export function ensureInstalled() {
  const locked = packagesOf(join(root, 'package-lock.json'));
  if (!locked) fail('package-lock.json is missing or unreadable; restore it from the repository');
  const stale = firstStale(locked, packagesOf(join(root, 'node_modules', '.package-lock.json')));
  if (!stale) return;
  console.error(`[install] ${stale} is missing or stale: running npm ci`);
  // The npm that started this script, if one did: it is the one that surely exists.
  const npm = process.env.npm_execpath;
  const started = npm?.endsWith('.js')
    ? spawnSync(process.execPath, [npm, 'ci'], { cwd: root, stdio: ['ignore', 2, 2] })
    : spawnSync('npm', ['ci'], { cwd: root, stdio: ['ignore', 2, 2], shell: process.platform === 'win32' });
  if (started.status !== 0) fail('npm ci failed; is the package registry reachable?');
}

/** Says one line and ends the process. @returns {never} */
export function fail(line, code = 1) {
  console.error(`[thimble] ${line}`);
  process.exit(code);
}
