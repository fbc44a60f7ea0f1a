/**
 * Watches everything that the tests and the programs that they start print: no secret may be in it.
 * Loaded before each file of tests.
 */
import type { ChildProcess } from 'node:child_process'
import { subscribe } from 'node:diagnostics_channel'
import type { Readable } from 'node:stream'
import { afterAll, afterEach } from 'vitest'
import { canaryIn } from './canaries.ts'

/** A worker that runs many files loads this module for each of them, and watches once. */
const watched = globalThis as { [key: symbol]: string[] | undefined }
const mark = Symbol.for('mersal tests: secrets that came out')
const first = watched[mark] === undefined
const seen: string[] = (watched[mark] ??= [])

/** What was around the secrets that came out so far; they are forgotten by it. */
export function takeSightings(): readonly string[] {
  return seen.splice(0)
}

/** Looks at a stream of pieces, in which a secret may be cut in two. */
function lookout(where: string): (chunk: unknown) => void {
  let before = ''
  return (chunk) => {
    const text =
      before +
      (typeof chunk === 'string'
        ? chunk
        : chunk instanceof Uint8Array
          ? Buffer.from(chunk).toString('latin1')
          : '')
    const found = canaryIn(text)
    if (found !== undefined) seen.push(`${where}: ${found}`)
    before = found === undefined ? text.slice(-100) : ''
  }
}

function watchWrites(name: 'stdout' | 'stderr'): void {
  const stream = process[name]
  const write = stream.write.bind(stream) as (...given: readonly unknown[]) => boolean
  const look = lookout(`${name} of the tests`)
  stream.write = (...given: readonly unknown[]): boolean => {
    look(given[0])
    return write(...given)
  }
}

/**
 * Looks without reading: a listener would make the stream flow before whoever started the program
 * listens.
 */
function watchStream(stream: Readable | null | undefined, where: string): void {
  if (stream === null || stream === undefined) return
  const push = stream.push.bind<Readable['push']>(stream)
  const look = lookout(where)
  stream.push = (chunk: unknown, encoding?: BufferEncoding): boolean => {
    look(chunk)
    return push(chunk, encoding)
  }
}

function watchPrograms(): void {
  subscribe('child_process', (message) => {
    const child = (message as { process: ChildProcess }).process
    // Its streams are made after this event, and before anything comes through them.
    process.nextTick(() => {
      const where = `the program ${child.spawnargs?.slice(0, 4).join(' ') ?? '?'}`
      watchStream(child.stdout, where)
      watchStream(child.stderr, where)
    })
  })
}

function watchConsole(): void {
  for (const name of ['debug', 'info', 'log', 'warn', 'error'] as const) {
    const print = console[name].bind(console)
    const look = lookout(`console.${name} of the tests`)
    console[name] = (...given: readonly unknown[]): void => {
      for (const each of given) look(typeof each === 'string' ? each : `${String(each)}\n`)
      print(...given)
    }
  }
}

function nothingSeen(): void {
  const all = takeSightings()
  if (all.length > 0) throw new Error(`a secret came out:\n${all.join('\n')}`)
}

if (first) {
  watchWrites('stdout')
  watchWrites('stderr')
  watchConsole()
  watchPrograms()
}
afterEach(nothingSeen)
afterAll(nothingSeen)
