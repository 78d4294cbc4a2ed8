/** What can be chosen, and the schedule that it makes. */
import { z } from 'zod';
import type { Tensor } from '../../../tensor/index.ts';
import type { Schedule, Step } from '../../contracts/schedule.ts';
import { lowFrequencyCrop } from './frequency.ts';
import { publishedSides, publishedSize } from './presets.ts';
import { lanczosResize, nearestResize } from './resample.ts';
import { locate, stageStrength, stagesOf } from './stages.ts';

export const Config = z.strictObject({
  version: z.enum(['v1', 'plusplus']).default('v1').describe('stages of equal epochs (v1) or of equal compute (plusplus)'),
  model: z.enum(['deit', 'swin', 'resnet', 'convnext']).default('deit').describe('whose published sides plusplus takes'),
  sides: z
    .array(z.number().gt(0).max(1))
    .min(1)
    .optional()
    .describe('side of the images by stage, as a share of the full side; published ones if absent'),
  augmentation: z
    .enum(['stages', 'continuous', 'constant'])
    .default('stages')
    .describe('strength rises with the stages, with every step, or is full throughout'),
  resize: z.enum(['fourier', 'lanczos', 'nearest']).optional().describe("how images are made smaller; the version's own if absent"),
});
export type EfficientTrainConfig = z.output<typeof Config>;

const resizers: Record<'fourier' | 'lanczos' | 'nearest', (images: Tensor, side: number) => Tensor> = {
  fourier: lowFrequencyCrop,
  lanczos: lanczosResize,
  nearest: nearestResize,
};

/** The sides of a configuration, as shares of the full side. */
export function sidesOf({ version, model, sides }: EfficientTrainConfig): readonly number[] {
  return sides ?? (version === 'v1' ? publishedSides.v1 : publishedSides.plusplus[model]).map((side) => side / publishedSize);
}

/** The schedule of a configuration. The batch is the same in every step: learning rate and weight decay need no correction. */
export function createSchedule(config: EfficientTrainConfig): Schedule {
  const { version, augmentation } = config;
  const shares = sidesOf(config);
  const resize = resizers[config.resize ?? (version === 'v1' ? 'fourier' : 'lanczos')];
  const strength = (number: number, passed: number): number => {
    if (augmentation === 'constant') return 1;
    return augmentation === 'continuous' ? passed : stageStrength(number, shares.length, version);
  };
  return {
    step(index, target): Step {
      const { stage, number, passed } = locate(stagesOf(shares, version, target), index);
      return {
        shape: [target.batch, target.channels, stage.side, stage.side],
        augmentation: strength(number, passed),
        cost: (stage.side / target.size) ** 2,
        position: version === 'v1' ? index / target.steps : passed,
      };
    },
    reshape: (images, { shape }) => resize(images, shape[2]),
  };
}
