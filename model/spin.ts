import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Broken, Configuration } from './configurations.ts'
import { readable } from './trail.ts'

/** What Spin found out about one configuration. */
export interface Verdict {
  /** The promise that is broken; undefined: all hold in every state that was visited. */
  readonly broken: Broken | undefined
  /** Why this is no verdict: out of memory or time, or states were left out. */
  readonly incomplete: string | undefined
  readonly states: number
  /** Steps of the model that were never taken. */
  readonly unreached: number
  /** Length of the longest path, or of the counterexample. */
  readonly depth: number
  readonly memoryMiB: number
  readonly seconds: number
  /** The steps of the counterexample, if they were asked for. */
  readonly trail: string | undefined
}

/** Memory that one verification may use, in MiB. */
const MEMORY_MIB = 1500
const LONGEST_PATH = 100_000
/** A counterexample is searched for within so many steps first: short ones can be read. */
const DEPTHS = [8, 10, 12, 14, 16, 20, 30, 50, 1000, LONGEST_PATH]

const source = fileURLToPath(new URL('outbox.pml', import.meta.url))

/** The programs that are missing here: Spin, a C compiler. */
export function missingPrograms(): string[] {
  const runs = (program: string, option: string): boolean =>
    spawnSync(program, [option], { stdio: 'ignore' }).error === undefined
  return [...(runs('spin', '-V') ? [] : ['spin']), ...(runs('cc', '--version') ? [] : ['cc'])]
}

export interface VerifyOptions {
  /** Default 900,000. */
  readonly timeoutMs?: number
  /** Also returns the steps of a counterexample. Default false. */
  readonly trail?: boolean
  /**
   * Whether the compiler takes its time. Default true, except where a short counterexample is
   * expected.
   */
  readonly optimise?: boolean
}

/** Makes the verifier of this configuration, runs it and reads what it says. */
export function verify(
  configuration: Configuration,
  {
    timeoutMs = 900_000,
    trail = false,
    optimise = configuration.breaks.length === 0,
  }: VerifyOptions = {},
): Verdict {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-model-'))
  try {
    const defines = Object.entries(configuration.flags).map(([name, value]) =>
      value === true ? `-D${name}` : `-D${name}=${value}`,
    )
    const run = (program: string, options: readonly string[]): string =>
      output(folder, timeoutMs, program, options)
    run('spin', [...defines, '-a', source])
    const searchesShort = configuration.breaks.length > 0
    // REACH: with a bound on the depth, a state that is reached again on a shorter path is searched
    // again.
    run('cc', [
      optimise ? '-O2' : '-O0',
      '-w',
      '-DSAFETY',
      `-DMEMLIM=${MEMORY_MIB}`,
      ...(searchesShort ? ['-DREACH'] : []),
      '-o',
      'pan',
      'pan.c',
    ])
    const started = performance.now()
    for (const depth of searchesShort ? DEPTHS : [LONGEST_PATH]) {
      const verdict = read(run('./pan', [`-m${depth}`]), (performance.now() - started) / 1000)
      if (verdict.broken === undefined && depth < LONGEST_PATH && searchesShort) continue
      const steps =
        trail && verdict.broken !== undefined
          ? readable(run('spin', [...defines, '-k', 'outbox.pml.trail', '-t', '-p', '-g', source]))
          : undefined
      return { ...verdict, trail: steps }
    }
    throw new Error('unreachable: the last depth always answers')
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function output(cwd: string, timeout: number, program: string, options: readonly string[]): string {
  const { stdout, stderr, status, error, signal } = spawnSync(program, options, {
    cwd,
    timeout,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  })
  if (error !== undefined && signal === null)
    throw new Error(`${program} could not be run: ${error.message}`)
  if (program === './pan')
    return `${stdout}${stderr}${signal === null ? '' : `\npan: ended by ${signal}`}`
  if (status !== 0)
    throw new Error(
      `${program} ${options.join(' ')} ended with ${status ?? signal}:\n${stdout}${stderr}`,
    )
  return stdout
}

function read(text: string, seconds: number): Verdict {
  const number = (pattern: RegExp): number => Number(pattern.exec(text)?.[1] ?? Number.NaN)
  const broken = /assertion violated\s+!\(*(\w+)/.exec(text)?.[1] as Broken | undefined
  return {
    broken,
    incomplete: broken === undefined ? reasonOfIncompleteness(text) : undefined,
    states: number(/^\s*([\d.e+]+) states, stored/m),
    unreached: [...text.matchAll(/state \d+, "(?!-end-)/g)].length,
    depth: number(broken === undefined ? /depth reached (\d+)/ : /at depth (\d+)/),
    memoryMiB: Math.round(number(/^\s*([\d.]+)\s+total actual memory usage/m)),
    seconds,
    trail: undefined,
  }
}

function reasonOfIncompleteness(text: string): string | undefined {
  const found = ['reached -DMEMLIM bound', 'max search depth too small', 'ended by SIG'].find(
    (words) => text.includes(words),
  )
  if (found !== undefined) return found
  return /errors: 0\b/.test(text) ? undefined : `the verifier said:\n${text.slice(0, 2000)}`
}

/** Whether it came out as it should. */
export function isExpected({ breaks }: Configuration, { broken, incomplete }: Verdict): boolean {
  if (incomplete !== undefined) return false
  return broken === undefined ? breaks.length === 0 : breaks.includes(broken)
}
