/**
 * The report's style sheet. Eight series colours that stay apart for colour-blind readers, a set for light paper and one for dark;
 * text and grid meet WCAG AA contrast in both.
 */
const light = ['#0065a8', '#c44700', '#00795a', '#a8358c', '#6a5d00', '#4b4fc4', '#b01e35', '#3f6670'];
const dark = ['#5fb4f0', '#ff9552', '#3fcf9f', '#f08bd6', '#d8c247', '#a3a6ff', '#ff8090', '#9cc7d2'];

const palette = (colours: readonly string[]): string => colours.map((colour, index) => `--s${index}:${colour}`).join(';');
const series = light.map((_, index) => `.s${index}{--c:var(--s${index})}`).join('');

export const style = `
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--paper:#fff;--raised:#f6f8fa;--rule:#d8dee4;${palette(light)}}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ed;--soft:#a0a9b4;--paper:#14171b;--raised:#1d2228;--rule:#353c45;${palette(dark)}}}
@media print{:root{color-scheme:light}section,figure,table{break-inside:avoid}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.6 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:54rem;margin:0 auto;padding:3.5rem 1.25rem 4rem}
h1{font-size:2rem;line-height:1.2;letter-spacing:-.015em;margin:0 0 .6rem;text-wrap:balance}
h2{font-size:1.3rem;line-height:1.3;letter-spacing:-.01em;margin:3rem 0 .6rem;padding-top:1.6rem;border-top:1px solid var(--rule)}
p{margin:.6rem 0;max-width:44rem}
.intro{color:var(--soft);font-size:1.08rem}
.caption,figcaption,caption{color:var(--soft);font-size:.875rem;line-height:1.45}
figure{margin:1.6rem 0}
.scroll{overflow-x:auto;margin:1.4rem 0}
.scroll:focus-visible{outline:2px solid var(--s0);outline-offset:2px}
table{border-collapse:collapse;width:100%;font-size:.9375rem;font-variant-numeric:tabular-nums}
caption{text-align:left;padding:0 0 .5rem}
th,td{padding:.5rem .65rem;text-align:left;vertical-align:baseline;border-bottom:1px solid var(--rule)}
th:first-child,td:first-child{padding-left:.2rem}th:last-child,td:last-child{padding-right:.2rem}
thead th{color:var(--soft);font-weight:600;font-size:.8125rem;border-bottom:2px solid var(--rule);vertical-align:bottom}
tbody th{font-weight:500}
tbody tr:hover{background:var(--raised)}
.number{text-align:right}td.number,tbody th{white-space:nowrap}
.strong th,.strong td{font-weight:700}
pre{background:var(--raised);border-radius:8px;padding:.9rem 1.1rem;font:.875rem/1.55 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(10rem,1fr));gap:.8rem;margin:1.6rem 0}
.figures div{background:var(--raised);border-radius:10px;padding:.9rem 1.1rem}
dt{color:var(--soft);font-size:.8125rem}
dd{margin:.1rem 0 0;font-size:1.5rem;font-weight:650;letter-spacing:-.01em;line-height:1.3;font-variant-numeric:tabular-nums}
dd small{display:block;color:var(--soft);font-size:.8125rem;font-weight:400;letter-spacing:0}
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(5.5rem,1fr));gap:.8rem}
.pictures figure{margin:0}.pictures img{display:block;width:100%;border-radius:4px;background:var(--raised)}
.pictures figcaption{margin-top:.25rem;font-size:.8125rem}
.pixelated{image-rendering:pixelated}
.plot svg:not(.key){display:block;width:100%;height:auto;font-size:13px;overflow:visible}
@media(max-width:32rem){.plot svg:not(.key){font-size:18px}}
.plot figcaption{color:var(--ink);font-size:1rem}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1.3rem;margin:.4rem 0 .5rem;padding:0;font-size:.875rem}
.legend li{display:flex;align-items:center;gap:.45rem}
.key{width:30px;height:14px;flex:none}
.grid path{stroke:var(--rule);fill:none}.grid .axis{stroke:var(--soft)}
.grid text{fill:var(--soft);font-variant-numeric:tabular-nums}
.name{fill:var(--ink)}
.label{fill:var(--c);font-weight:600}
.line{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.bar{fill:none;stroke:var(--c);stroke-width:1.5;opacity:.65}
.mark{fill:var(--c);stroke:var(--paper);stroke-width:1.2}
${series}
footer{margin-top:3.5rem;padding-top:1rem;border-top:1px solid var(--rule);color:var(--soft);font-size:.875rem}
`.trim();
