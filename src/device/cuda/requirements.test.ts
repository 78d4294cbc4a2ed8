import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Found, unmet } from './requirements.ts';

const h100: Found = {
  name: 'NVIDIA H100',
  capability: 90,
  driver: 13000,
  freeBytes: 80e9,
  totalBytes: 85e9,
  nvrtc: 13000,
  architectures: [75, 80, 86, 89, 90, 100, 120],
};
const cases: [string, Partial<Found>, RegExp | undefined][] = [
  ['a healthy machine', {}, undefined],
  ['libraries older than the driver', { nvrtc: 12040, architectures: [50, 70, 80, 90] }, undefined],
  ['a minor version newer than the driver', { nvrtc: 13020 }, undefined],
  [
    'a card that is too old',
    { name: 'GTX 1080', capability: 61 },
    /GTX 1080 has compute capability 6\.1, at least 7\.0 is needed; use THIMBLE_DEVICE=cpu/,
  ],
  [
    'a driver that is too old',
    { driver: 12040 },
    /NVRTC 13\.0 makes code that the driver, of CUDA 12\.4, cannot load; update the driver, or pip install nvidia-cuda-nvrtc-cu12/,
  ],
  [
    'a card that NVRTC no longer knows',
    { name: 'V100', capability: 70 },
    /capabilities 7\.5 to 12\.0 and V100 has 7\.0; install an older one/,
  ],
  ['a card that NVRTC does not know yet', { capability: 120, nvrtc: 12040, architectures: [50, 90] }, /install a newer one/],
  [
    'a card that is full',
    { freeBytes: 100 << 20 },
    /H100 has 100\.0 MiB of 79\.2 GiB free, at least 256\.0 MiB is needed; end what else uses it/,
  ],
];
for (const [what, change, message] of cases)
  test(`${what} is ${message ? 'refused with the way out' : 'taken'}`, () => {
    const why = unmet({ ...h100, ...change });
    if (message) assert.match(why!, message);
    else assert.equal(why, undefined);
  });
