/** What a run remembers of its losses and evaluations: little, and the same after a resume. */
import { isCount, isObject } from './json.ts';

export interface CurvePoint {
  /** Steps done at the end of the span that this point sums up. */
  step: number;
  /** Mean loss of the span. */
  loss: number;
}

/** The result of one evaluation: whatever numbers the caller measured, by name. */
export interface Evaluation {
  /** Steps done when it was made. */
  step: number;
  metrics: Readonly<Record<string, number>>;
}

const maxSpans = 256;
const memory = 0.98;

/** The loss curve as at most 256 means over spans of equal length, and a running average of about the last 50 losses. */
export class LossCurve {
  #count = 0;
  #average = 0;
  #width = 1;
  /** Sums over whole spans, then over the one being filled. */
  #sums: number[] = [];

  add(loss: number): void {
    this.#average = memory * this.#average + (1 - memory) * loss;
    const span = Math.floor(this.#count++ / this.#width);
    this.#sums[span] = (this.#sums[span] ?? 0) + loss;
    if (this.#count < maxSpans * this.#width) return;
    this.#sums = Array.from({ length: maxSpans / 2 }, (_, i) => this.#sums[2 * i]! + this.#sums[2 * i + 1]!);
    this.#width *= 2;
  }

  get count(): number {
    return this.#count;
  }
  /** Exponential moving average, corrected for its start at 0 (Kingma and Ba 2015, section 3); NaN before the first loss. */
  get smoothed(): number {
    return this.#average / (1 - memory ** this.#count);
  }
  get points(): CurvePoint[] {
    return this.#sums.map((sum, i) => {
      const step = Math.min(this.#count, (i + 1) * this.#width);
      return { step, loss: sum / (step - i * this.#width) };
    });
  }

  toJSON(): unknown {
    return { count: this.#count, average: this.#average, width: this.#width, sums: this.#sums };
  }
  /** The curve that `toJSON` described; undefined for anything else. */
  static fromJSON(json: unknown): LossCurve | undefined {
    if (!isObject(json)) return undefined;
    const { count, average, width, sums } = json;
    if (!isCount(count) || typeof average !== 'number' || !isCount(width) || width < 1 || !isNumbers(sums)) return undefined;
    if (count >= maxSpans * width || sums.length !== Math.ceil(count / width)) return undefined;
    const curve = new LossCurve();
    curve.#count = count;
    curve.#average = average;
    curve.#width = width;
    curve.#sums = [...sums];
    return curve;
  }
}

/** The losses and evaluations of a run so far. */
export interface History {
  losses: LossCurve;
  evaluations: Evaluation[];
}

export const emptyHistory = (): History => ({ losses: new LossCurve(), evaluations: [] });

/** The history that JSON of one describes; undefined for anything else. */
export function parseHistory(json: unknown): History | undefined {
  if (!isObject(json) || !Array.isArray(json['evaluations'])) return undefined;
  const losses = LossCurve.fromJSON(json['losses']);
  const evaluations = (json['evaluations'] as unknown[]).map(parseEvaluation);
  return losses && evaluations.every((e) => e !== undefined) ? { losses, evaluations } : undefined;
}

function parseEvaluation(json: unknown): Evaluation | undefined {
  if (!isObject(json) || !isCount(json['step']) || !isObject(json['metrics'])) return undefined;
  const metrics: Record<string, number> = {};
  for (const [name, value] of Object.entries(json['metrics'])) {
    if (value !== null && typeof value !== 'number') return undefined;
    metrics[name] = value ?? Number.NaN; // JSON writes NaN as null
  }
  return { step: json['step'], metrics };
}

const isNumbers = (x: unknown): x is number[] => Array.isArray(x) && x.every((v) => typeof v === 'number');
