/** A report: one HTML file that opens from disk, with nothing to fetch. */
import { type Block, paragraphs, renderBlock } from './blocks.ts';
import { Html, html } from './html.ts';
import { style } from './style.ts';

export interface Section {
  title: string;
  blocks: readonly Block[];
}

export interface ReportSpec {
  title: string;
  /** Under the title; blank lines part paragraphs. */
  intro?: string;
  sections: readonly Section[];
  /** At the end: the command that makes this report, versions, the machine. */
  footer?: string;
}

/** The page's own policy: nothing is fetched, no script runs, whatever its text contains. */
const policy = new Html("default-src 'none'; style-src 'unsafe-inline'; img-src data:");

/**
 * The report as an HTML document. All text is escaped.
 *
 * @example
 * writeFileSync('report.html', report({
 *   title: 'Accuracy in 2 MB',
 *   sections: [{ title: 'Arms', blocks: [{ kind: 'table', header: ['arm', 'bytes'], rows: [['tokens', 2_000_000]] }] }],
 * }));
 *
 * @throws TypeError for a picture that is no PNG; RangeError for a plot without data, with more than eight series, or with values of
 * 0 or less on a log axis.
 */
export function report({ title, intro, sections, footer }: ReportSpec): string {
  const body = sections.map((section) => html`<section><h2>${section.title}</h2>${section.blocks.map(renderBlock)}</section>\n`);
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<title>${title}</title>
<style>${new Html(style)}</style>
</head>
<body><main>
<header><h1>${title}</h1>${intro ? html`<div class="intro">${paragraphs(intro)}</div>` : null}</header>
${body}${footer ? html`<footer>${paragraphs(footer)}</footer>` : null}
</main></body>
</html>
`.text;
}
