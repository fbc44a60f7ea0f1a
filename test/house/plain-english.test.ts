/** Pages and comments say things with the usual words, so that readers of any country understand. */
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { root } from './sources.ts'

/** Word that few readers know, or that was used in a sense of our own; and the usual one. */
const better: Readonly<Record<string, string>> = {
  amiss: 'wrong',
  mend: 'fix',
  mends: 'fixes',
  mended: 'fixed',
  hearken: 'listen',
  whence: 'from where',
  thereof: 'of it',
  herein: 'here',
  hitherto: 'so far',
  betwixt: 'between',
  utilize: 'use',
  utilise: 'use',
  leverage: 'use',
  seamless: 'say what happens',
  seamlessly: 'say what happens',
  blazing: 'say how fast',
  robust: 'say what it withstands',
}

/** Mistakes of typing that were made somewhere. */
const typos: Readonly<Record<string, string>> = {
  teh: 'the',
  recieve: 'receive',
  recieved: 'received',
  seperate: 'separate',
  seperately: 'separately',
  occured: 'occurred',
  occurence: 'occurrence',
  transation: 'transaction',
  mesage: 'message',
  messsage: 'message',
  wich: 'which',
  untill: 'until',
  succesful: 'successful',
  sucessful: 'successful',
  adress: 'address',
  dependancy: 'dependency',
  existant: 'existent',
  guarentee: 'guarantee',
  guarantied: 'guaranteed',
  idempotancy: 'idempotency',
  lenght: 'length',
  necesary: 'necessary',
  neccessary: 'necessary',
  paramter: 'parameter',
  priviledge: 'privilege',
  refered: 'referred',
  writen: 'written',
}

const words = new Map(Object.entries({ ...better, ...typos }))

interface Finding {
  readonly line: number
  readonly word: string
  readonly instead: string
}

/** Code between backticks, and addresses, are not prose. */
const prose = (line: string): string => line.replaceAll(/`[^`]*`|\bhttps?:\S+|\]\([^)]*\)/g, ' · ')

/** A word that follows itself, but for those that may. */
const twice = /\b(?<word>the|a|an|of|to|in|is|and|for|with|by)\s+\k<word>\b/i

function findings(text: string): readonly Finding[] {
  return text.split('\n').flatMap((line, index) => {
    const said = prose(line)
    const single = [...said.matchAll(/[a-z]+/gi)].flatMap(([word]) => {
      const instead = words.get(word.toLowerCase())
      return instead === undefined ? [] : [{ line: index + 1, word, instead }]
    })
    const again = twice.exec(said)?.groups?.['word']
    return again === undefined
      ? single
      : [...single, { line: index + 1, word: `${again} ${again}`, instead: again }]
  })
}

/** Blocks of code are left out, with their lines. */
const withoutBlocks = (text: string): string =>
  text.replaceAll(/^```[\s\S]*?^```/gm, (block) => block.replaceAll(/[^\n]/g, ''))

/** Only comments, on their lines. */
const comments = (text: string): string =>
  text
    .split('\n')
    .map((line) => /^\s*(?:\/\*\*?|\*|\/\/)(?<said>.*)$/.exec(line)?.groups?.['said'] ?? '')
    .join('\n')

const pages = globSync('{*.md,docs/*.md,docs/adr/*.md,docs/reference/*.md,ops/*.md}', { cwd: root })
const sources = globSync('{src,bench,test,scripts,examples,demo}/**/*.ts', {
  cwd: root,
  exclude: (name) => /node_modules|generated|plain-english/.test(name),
})

test('pages and comments use the usual words, spelt as usual', () => {
  const found = [
    ...pages.map((file) => [file, withoutBlocks(readFileSync(join(root, file), 'utf8'))] as const),
    ...sources.map((file) => [file, comments(readFileSync(join(root, file), 'utf8'))] as const),
  ].flatMap(([file, text]) =>
    findings(text).map(({ line, word, instead }) => `${file}:${line}: '${word}': ${instead}`),
  )
  expect(pages.length).toBeGreaterThan(100)
  expect(sources.length).toBeGreaterThan(1000)
  expect(found).toEqual([])
})

test('the check finds a word in prose and none in code', () => {
  expect(findings('We mend the the table.').map(({ word }) => word)).toEqual(['mend', 'the the'])
  expect(findings('Call `mend()`; see [it](mend.md).')).toEqual([])
  expect(comments('const mend = 1 // not at the start\n// mend it')).toBe('\n mend it')
})

test('the page of the outbox is whole', () => {
  const page = readFileSync(join(root, 'docs/the-outbox.md'), 'utf8')
  const headings = [...page.matchAll(/^##+ (?<title>.*)$/gm)].map(({ groups }) => groups?.['title'])
  expect(headings).toEqual([
    'Introduction',
    'Usage',
    'Notes',
    'Three examples',
    'With a transaction of your own',
    'With a unit of work',
    'With idempotency',
    'Summary',
    'Internals',
    'Further reading',
  ])
})
