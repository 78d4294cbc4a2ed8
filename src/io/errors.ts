/** The system's code of an error (`ENOENT`, `ENOSPC`, ...), if it has one. */
export function errorCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}

/** Why the system does not give a file to a reader, in words; undefined for an error of another kind. */
export const systemReason = (error: unknown): string | undefined => systemReasons[errorCode(error) ?? ''];
const systemReasons: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  EISDIR: 'it is a folder',
  EACCES: 'permission to read it is denied',
};

export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** An error of opening `path`, with the system's code. */
export const cannotOpen = (who: string, path: string, cause: unknown): Error =>
  Object.assign(new Error(`[${who}] ${path}: ${systemReason(cause) ?? errorMessage(cause)}`, { cause }), { code: errorCode(cause) });

/** The content of a file does not follow its format, or was damaged. */
export class FormatError extends Error {
  override readonly name = 'FormatError';
}
