/** Speed over about the last ten seconds. */
const windowSeconds = 10;

export class RateMeter {
  #seconds = 0;
  #steps = 0;
  #samples = 0;

  /** One step over so many samples took so long; what lies further back counts less (by e at `windowSeconds`). */
  add(seconds: number, samples: number): void {
    const keep = Math.exp(-seconds / windowSeconds);
    this.#seconds = this.#seconds * keep + seconds;
    this.#steps = this.#steps * keep + 1;
    this.#samples = this.#samples * keep + samples;
  }
  /** NaN before the first step. */
  get secondsPerStep(): number {
    return this.#seconds / this.#steps;
  }
  get samplesPerSecond(): number {
    return this.#samples / this.#seconds;
  }
}
