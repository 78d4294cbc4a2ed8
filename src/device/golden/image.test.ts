import { affineGrid, affineSample, bicubicResize, gridSample } from '../../tensor/index.ts';
import { goldenCases, testGolden } from '../conformance/golden.ts';

for (const c of goldenCases<{ size: [number, number] }>('image'))
  testGolden(c, ({ x, theta, grid }, { size }) => {
    if (c.name === 'affine_grid') return { y: affineGrid(theta!, size) };
    if (grid) return { y: gridSample(x!, grid) };
    return { y: theta ? affineSample(x!, theta, size) : bicubicResize(x!, size) };
  });
