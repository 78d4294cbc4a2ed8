/** Times the steps of a training and keeps a curve of at most some hundred points. */
import type { CurvePoint } from './job.ts';

const maxPoints = 120;

export class Recorder {
  readonly curve: CurvePoint[] = [];
  steps = 0;
  #every = 1;
  #began: number | undefined;
  #last = 0;

  /** Step `step` has ended with a (smoothed) loss. */
  add(step: number, loss: number): void {
    this.#began ??= performance.now();
    this.#last = performance.now();
    this.steps = step;
    if (step % this.#every !== 0) return;
    this.curve.push({ step, seconds: (this.#last - this.#began) / 1000, loss });
    if (this.curve.length < maxPoints) return;
    this.#every *= 2;
    const kept = this.curve.filter((point) => point.step % this.#every === 0);
    this.curve.splice(0, this.curve.length, ...kept);
  }
}
