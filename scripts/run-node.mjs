// Runs a program of this package as the foreground process: its streams, its exit code, and Ctrl-C belongs to it.
import { spawn } from 'node:child_process';
import process from 'node:process';
import { root } from './install.mjs';

/** Runs `node ...args` from the package's root and takes over its exit code. @param {string[]} args */
export async function runNode(args) {
  // The terminal signals the whole group: the child decides what an interrupt means, and this process must outlive it. A signal
  // that was sent to this process alone is passed on.
  process.on('SIGINT', () => {});
  const child = spawn(process.execPath, args, { cwd: root, stdio: 'inherit' });
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  const [code, signal] = await new Promise((done, refuse) => {
    child.on('error', refuse);
    child.on('exit', (...how) => done(how));
  });
  process.exitCode = signal ? 128 + (signal === 'SIGINT' ? 2 : 15) : code;
}
