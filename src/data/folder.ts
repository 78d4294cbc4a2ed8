import { readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { cannotOpen } from '../io/errors.ts';
import { type FileSetOptions, type ImageFile, openImageFiles } from './files.ts';
import type { ImageSet } from './image-set.ts';

export interface FolderOptions extends FileSetOptions {
  /** `folders` (the default): the class is the folder's name. `none`: every image is of the one class `unlabelled`. */
  labels?: 'folders' | 'none';
}

/** Opens `root/class/.../image`: a class is all images below its folder. Hidden files and files that are not images are passed over. */
export async function openFolder(root: string, options: FolderOptions = {}): Promise<ImageSet> {
  const files = await listFolder(root, options);
  return openImageFiles(root, files, options);
}

/** The image files of a folder in sorted order, those of a folder before those of the folders in it. */
export async function listFolder(
  root: string,
  { labels = 'folders', signal }: Pick<FolderOptions, 'labels' | 'signal'> = {},
): Promise<ImageFile[]> {
  const top = await list(root).catch((error) => {
    throw cannotOpen('images', root, error);
  });
  const files: ImageFile[] = labels === 'none' ? top.images.map((path) => ({ path, className: 'unlabelled' })) : [];
  const home = await realpath(root);
  for (const name of top.folders) {
    const className = labels === 'none' ? 'unlabelled' : name.normalize(); // systems spell accents in one letter or in two
    for (const path of await allBelow(join(root, name), [home], signal)) files.push({ path, className });
  }
  if (files.length > 0) return files;
  const found =
    top.images.length > 0
      ? `${top.images.length} images but no class folders`
      : top.folders.length > 0
        ? `${top.folders.length} folders without JPEG, PNG or WebP images`
        : 'no images';
  if (labels === 'none') throw new Error(`[images] ${root} has no JPEG, PNG or WebP images, nor have the folders in it`);
  throw new Error(
    `[images] ${root} has ${found}; expected one folder a class: ${join(root, '<class>', '<image>.jpg')} (or an IDX file, or a CSV manifest path,label)`,
  );
}

/**
 * Images at any depth. A link to one of the folders that it lies in leads nowhere new. A folder that cannot be listed stands for its images, so that
 * it is named or skipped as they would be.
 */
async function allBelow(folder: string, above: readonly string[], signal?: AbortSignal): Promise<string[]> {
  signal?.throwIfAborted();
  let [here, images, folders]: [string, string[], string[]] = ['', [folder], []];
  try {
    here = await realpath(folder);
    if (above.includes(here)) return [];
    ({ images, folders } = await list(folder));
  } catch {}
  for (const name of folders) for (const path of await allBelow(join(folder, name), [...above, here], signal)) images.push(path);
  return images;
}

const imageName = /\.(jpe?g|png|webp)$/i;

async function list(folder: string): Promise<{ images: string[]; folders: string[] }> {
  const images: string[] = [];
  const folders: string[] = [];
  const entries = await readdir(folder, { withFileTypes: true });
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const entry of entries) {
    if (entry.name.startsWith('.')) continue;
    const path = join(folder, entry.name);
    // A link counts as what it points to; a broken one as a file, so that it is reported.
    const isFolder = entry.isSymbolicLink()
      ? await stat(path).then(
          (s) => s.isDirectory(),
          () => false,
        )
      : entry.isDirectory();
    if (isFolder) folders.push(entry.name);
    else if (imageName.test(entry.name)) images.push(path);
  }
  return { images, folders };
}
