/** Reports: self-contained HTML with tables, pictures and plots. */
export type { Unit } from './axis.ts';
export type { Block, Cell, Picture, PicturesSpec, TableSpec } from './blocks.ts';
export type { PlotSpec, Point, Series } from './plot.ts';
export { type ReportSpec, report, type Section } from './report.ts';
