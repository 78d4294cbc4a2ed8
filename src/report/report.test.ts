import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { axis, unitText } from './axis.ts';
import { escapeHtml, html } from './html.ts';
import { plot } from './plot.ts';
import { report } from './report.ts';

// The smallest PNG: one transparent pixel (RFC 2083's structure, made with zlib).
const png = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==', 'base64');

test('text is escaped wherever it stands, markup is not escaped twice', () => {
  const evil = `</title><script>alert("1")</script>'&`;
  const page = report({
    title: evil,
    intro: evil,
    footer: evil,
    sections: [
      {
        title: evil,
        blocks: [
          { kind: 'text', text: evil },
          { kind: 'code', text: evil },
          { kind: 'table', header: [evil], rows: [[evil]], caption: evil },
          { kind: 'figures', figures: [{ name: evil, value: evil, note: evil }] },
          { kind: 'pictures', pictures: [{ png, caption: evil }], caption: evil },
          {
            kind: 'plot',
            title: evil,
            x: { label: evil },
            y: { label: evil },
            caption: evil,
            series: [{ name: evil, points: [{ x: 1, y: 2, label: evil }] }],
          },
        ],
      },
    ],
  });
  assert.doesNotMatch(page, /<script|"1"/);
  assert.doesNotMatch(page, /&amp;(lt|gt|amp|quot|#39);/);
  assert.equal(page.match(/&lt;script&gt;/g)?.length, page.match(/&lt;\/script&gt;/g)?.length);
});

test('escaped text never holds a special character of HTML', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => !/[<>"']|&(?!(amp|lt|gt|quot|#39);)/.test(escapeHtml(text))));
  assert.equal(html`<i>${'a<b'}${null}${[1, html`<b>${'&'}</b>`]}</i>`.text, '<i>a&lt;b1<b>&amp;</b></i>');
});

test('nothing is fetched: every address is a data URI', () => {
  const page = report({ title: 't', sections: [{ title: 's', blocks: [{ kind: 'pictures', pictures: [{ png, caption: 'dot' }] }] }] });
  assert.match(page, new RegExp(`src="data:image/png;base64,${png.toString('base64').replaceAll('+', '\\+')}"`));
  assert.doesNotMatch(page, /(src|href|url\()\s*=?\s*["']?(https?:)?\/\//);
  assert.match(page, /Content-Security-Policy" content="default-src 'none'/);
});

test('a picture that is no PNG is refused', () => {
  const bad = { kind: 'pictures', pictures: [{ png: Buffer.from('GIF89a'), caption: 'cat' }] } as const;
  assert.throws(() => report({ title: 't', sections: [{ title: 's', blocks: [bad] }] }), /the picture 'cat' is not a PNG/);
});

test('a column of numbers, or of texts that begin like one, is set to the right', () => {
  const columns = (...rows: (string | number | null)[][]): string[] => {
    const block = { kind: 'table', header: ['a', 'b', 'c', 'd'], rows } as const;
    const page = report({ title: 't', sections: [{ title: 's', blocks: [block] }] });
    return [...page.matchAll(/<th scope="col"( class="number")?>/g)].map(([, number]) => (number ? 'right' : 'left'));
  };
  assert.deepEqual(columns(['x', 1, '2 MiB', '1 s'], ['y', null, '+ 83.1 %', 'no']), ['left', 'right', 'right', 'left']);
  assert.deepEqual(columns(), ['left', 'left', 'left', 'left']);
  assert.deepEqual(columns(['x', 1]), ['left', 'right', 'left', 'left']); // a short row has no cells there
});

test('an axis keeps its values inside, in order, with few and distinct ticks', () => {
  const values = fc.array(fc.double({ min: 1e-6, max: 1e12, noNaN: true }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(values, fc.boolean(), fc.constantFrom('number', 'bytes', 'seconds' as const), (all, log, unit) => {
      const { at, ticks } = axis({ label: 'x', log, unit: unit as 'number' }, all);
      for (const value of all) assert.ok(at(value) >= -1e-9 && at(value) <= 1 + 1e-9, `${value} at ${at(value)}`);
      const places = ticks.map(({ value }) => at(value));
      assert.ok(places.every((place, index) => place >= -1e-6 && place <= 1 + 1e-6 && (index === 0 || place > places[index - 1]!)));
      assert.ok(ticks.length <= 12, `${ticks.length} ticks`);
    }),
    { examples: [[[0.0000010000000000000033, 0.0000010000000000000014], true, 'number']] },
  );
});

test('ticks stand on round values', () => {
  const texts = (spec: Parameters<typeof axis>[0], values: number[]): string[] => axis(spec, values).ticks.map(({ text }) => text);
  assert.deepEqual(texts({ label: 'step' }, [0, 2000]), ['0', '500', '1,000', '1,500', '2,000']);
  assert.deepEqual(texts({ label: 'loss' }, [0, 2.4]), ['0.0', '0.5', '1.0', '1.5', '2.0', '2.5']);
  assert.deepEqual(texts({ label: 'share', unit: 'percent' }, [0.5, 0.9]), ['50 %', '60 %', '70 %', '80 %', '90 %']);
  assert.deepEqual(texts({ label: 'file', unit: 'bytes', log: true }, [2 ** 16, 2 ** 22]), ['64 KiB', '256 KiB', '1 MiB', '4 MiB']);
  assert.deepEqual(texts({ label: 'rate', log: true }, [1e-4, 1e-1]), ['0.0001', '0.001', '0.01', '0.1']);
  assert.equal(unitText(0.8437, 'percent'), '84.37 %');
  assert.equal(unitText(300, 'seconds'), '5 min');
});

test('axes without values, or with none that a logarithm takes, are refused', () => {
  assert.throws(() => axis({ label: 'bytes' }, [Number.NaN]), /the axis 'bytes' has no finite value/);
  assert.throws(() => axis({ label: 'bytes', log: true }, [0, 1]), /log axis 'bytes' has the value 0/);
});

test('points stand where their values are, NaN breaks a line, bars span their ends', () => {
  const points = [
    { x: 0, y: 0 },
    { x: 1, y: 1 },
    { x: 2, y: Number.NaN },
    { x: 3, y: 3, low: 2, high: 4 },
    { x: 4, y: 4 },
  ];
  const text = plot({ title: 't', x: { label: 'x' }, y: { label: 'y' }, series: [{ name: 'a', points }] }).text;
  assert.equal(text.match(/<polyline/g)?.length, 2);
  assert.equal(text.match(/class="mark"/g)?.length, 4);
  assert.equal(text.match(/class="bar"/g)?.length, 1);
  const marks = [...text.matchAll(/translate\(([\d.]+) ([\d.]+)\)">/g)].map((match) => match.slice(1).map(Number));
  const [first, second, fourth, fifth] = marks as [number[], number[], number[], number[]];
  // Equal steps in value are equal steps on paper; y grows upwards. Positions are rounded to 0.1.
  assert.ok(Math.abs(second[0]! - first[0]! - (fifth[0]! - fourth[0]!)) <= 0.2);
  assert.ok(Math.abs(3 * (first[1]! - second[1]!) - (first[1]! - fourth[1]!)) <= 0.4 && first[1]! > second[1]!);
});

test('a label stands beside its point, on the side that has room', () => {
  const label = 'a label';
  const points = [0, 10].map((x) => ({ x, y: 1, label }));
  const text = plot({ title: 't', x: { label: 'x' }, y: { label: 'y' }, series: [{ name: 'a', points }] }).text;
  const labels = [...text.matchAll(/<text[^>]*x="([\d.]+)"[^>]*>a label</g)].map(([whole, x]) => ({
    x: Number(x),
    end: whole.includes('text-anchor="end"'),
  }));
  assert.deepEqual(
    labels.map(({ end }) => end),
    [false, true],
  );
});

test('more series than can be told apart are refused', () => {
  const series = Array.from({ length: 9 }, (_, index) => ({ name: `${index}`, points: [{ x: 1, y: 1 }] }));
  assert.throws(() => plot({ title: 'many', x: { label: 'x' }, y: { label: 'y' }, series }), /'many' has 9 series, 8 can be told apart/);
});
