import { describe, expect, test } from 'vitest'
import { type Source, sourceOf, sourcesIn } from './sources.ts'

/** The end of what opens here: brackets are counted in code without strings and comments. */
function endOf(code: string, open: number): number {
  let depth = 0
  for (let at = open; at < code.length; at++) {
    if ('([{'.includes(code[at]!)) depth++
    else if (')]}'.includes(code[at]!) && --depth === 0) return at
  }
  return code.length
}

/** What loggers are called with, and objects called `fields` that are made for them. */
const logged = /\blogger(?:\.\w+|\[\w+\])\(|\bconst fields = \{/g
/** An error under its own name, or as a text without its causes. */
const careless = /(?:^|[{,])\s*error(?:\s*[,}]|:(?!\s*errorText\())/

/** Log lines that name an error otherwise than by `errorFields` or `errorText`. */
function withoutCauses({ path, code }: Source): string[] {
  return [...code.matchAll(logged)].flatMap(({ index, 0: match }) => {
    const open = index + match.length - 1
    const line = code.slice(0, index).split('\n').length
    return careless.test(code.slice(open, endOf(code, open) + 1)) ? [`${path}:${line}`] : []
  })
}

describe('log lines', () => {
  test('keep the causes of an error, by errorFields or errorText', () => {
    expect(sourcesIn('src').flatMap(withoutCauses)).toEqual([])
  })

  test.each([
    'logger.warn({ error }, text)',
    'logger.warn({ app, error: error.message }, text)',
    'this.#settings.logger[level]({ queue: this.queue, error: describe(problem) }, text)',
    'const fields = { app, error: text, code }',
  ])('are found where they drop them: %s', (text) => {
    expect(withoutCauses(sourceOf('src/a.ts', text))).toHaveLength(1)
  })

  test.each([
    'logger.warn({ app, ...errorFields(error) }, text)',
    "logger.error({ code: 'A', error: errorText(error) }, text)",
    'return { kind, error }',
  ])('are left alone where they do not: %s', (text) => {
    expect(withoutCauses(sourceOf('src/a.ts', text))).toEqual([])
  })
})
