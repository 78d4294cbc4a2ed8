// Finds the module specifiers of a TypeScript file: static, type-only, re-exported and dynamic. A tokenizer, because a regular
// expression over the text also finds imports that stand in comments and strings.

const patterns = [
  ['space', /\s+/y],
  ['comment', /\/\/[^\n]*|\/\*[\s\S]*?\*\//y],
  ['string', /'(?:[^'\\\n]|\\[\s\S])*'|"(?:[^"\\\n]|\\[\s\S])*"/y],
  ['word', /[\p{ID_Start}$_#][\p{ID_Continue}$]*/uy],
  ['number', /\.?\d[\w.]*/y],
  ['regex', /\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/\w*/y],
  ['sign', /[\s\S]/y],
];

/** Keywords after which a slash begins a regular expression and does not divide. */
const beforeRegex = new Set(['return', 'typeof', 'case', 'in', 'of', 'do', 'else', 'void', 'delete', 'throw', 'new', 'await', 'yield']);

/** Can the slash that follows `last` begin a regular expression? */
function regexMayFollow(last) {
  if (!last) return true;
  if (last.kind === 'sign') return !')]}'.includes(last.text);
  return last.kind === 'word' && beforeRegex.has(last.text);
}

/** The tokens of `text` that are neither space nor comment. A template literal's text is dropped, the code inside it kept. */
function* tokens(text) {
  const braces = []; // one entry per open `{`: true where it is a template's `${`
  let at = 0;
  let last = null;
  const skipTemplate = () => {
    for (; at < text.length; at++) {
      if (text[at] === '\\') at++;
      else if (text[at] === '`') return void at++;
      else if (text[at] === '$' && text[at + 1] === '{') {
        at += 2;
        return void braces.push(true);
      }
    }
  };
  while (at < text.length) {
    for (const [kind, pattern] of patterns) {
      if (kind === 'regex' && !regexMayFollow(last)) continue;
      pattern.lastIndex = at;
      const found = pattern.exec(text)?.[0];
      if (found === undefined) continue;
      const token = { kind, text: found, at };
      at += found.length;
      if (kind === 'space' || kind === 'comment') break;
      last = token;
      yield token;
      if (kind !== 'sign') break;
      if (found === '`') skipTemplate();
      else if (found === '{') braces.push(false);
      else if (found === '}' && braces.pop()) skipTemplate();
      break;
    }
  }
}

/** Every imported or re-exported module of a source text. @param {string} text @returns {{ specifier: string, line: number }[]} */
export function imports(text) {
  const found = [];
  let [before, last] = [null, null];
  for (const token of tokens(text)) {
    const isStatic = last?.kind === 'word' && (last.text === 'from' || last.text === 'import');
    const isDynamic = last?.text === '(' && before?.kind === 'word' && before.text === 'import';
    if (token.kind === 'string' && (isStatic || isDynamic)) {
      found.push({ specifier: token.text.slice(1, -1), line: text.slice(0, token.at).split('\n').length });
    }
    [before, last] = [last, token];
  }
  return found;
}
