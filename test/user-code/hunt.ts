/** Runs programs on a library in a process of its own, on the sources of any folder. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { plant } from '../chaos/plant.ts'
import type { ProgramsReport } from './expect.ts'
import type { Guard } from './guards.ts'
import type { Place } from './places.ts'

const root = join(import.meta.dirname, '../..')
const title = 'whatever a program does'
/** Of one run, whose programs may wait for ever without a guard. */
const longestMs = (programs: number): number => 120_000 + 500 * programs

export interface Amount {
  readonly programs: number
  readonly seed: number
}

/** Undefined: the programs did not come to their end, which counts as noticed. */
export async function runOn(
  { file, suite }: Place,
  folder: string,
  { programs, seed }: Amount,
): Promise<ProgramsReport | undefined> {
  const made = await mkdtemp(join(tmpdir(), 'mersal-programs-'))
  const report = join(made, 'report.json')
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  const given = ['--root', '.', '--config', 'test/user-code/vitest.config.ts']
  const child = spawn(
    process.execPath,
    [
      vitest,
      'run',
      ...given,
      // Runs beside each other would clear away what the other one has kept.
      `--fsModuleCachePath=${join(folder === root ? join(root, 'node_modules') : folder, '.vitest-cache')}`,
      join('test', file),
      '-t',
      suite === undefined ? title : `${suite}.*${title}`,
    ],
    {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: longestMs(programs),
      env: {
        ...process.env,
        MERSAL_PROGRAMS: String(programs),
        MERSAL_SEED: String(seed),
        MERSAL_PROGRAMS_REPORT: report,
      },
    },
  )
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (piece: Buffer) => (said = (said + String(piece)).slice(-4000)))
  await once(child, 'close')
  try {
    return JSON.parse(await readFile(report, 'utf8')) as ProgramsReport
  } catch (error) {
    if (/Test timed out|Unhandled|Worker (?:exited|forks)/.test(said) || child.killed)
      return undefined
    throw new Error(`the programs on ${file} did not run:\n${said}`, { cause: error })
  } finally {
    await rm(made, { recursive: true })
  }
}

export interface Caught {
  readonly guard: string
  readonly place: string
  /** Number of the program that noticed, from 1; undefined: none. */
  readonly program: number | undefined
  readonly violation: string
  readonly programs: number
}

/** Takes the guard away and runs programs until one of them notices, but no more than so many. */
export async function hunt(
  { name, changes, places }: Guard,
  placeOf: (name: string) => Place,
  { most, batch, seed }: { readonly most: number; readonly batch: number; readonly seed: number },
  only: readonly string[] | undefined,
): Promise<Caught[]> {
  const folder = await plant({ name, changes }, [
    'src',
    'test',
    'scripts',
    'demo',
    'package.json',
    'tsconfig.json',
    'tsconfig.check.json',
    'vitest.config.ts',
  ])
  try {
    const caught: Caught[] = []
    for (const place of places.filter((one) => only === undefined || only.includes(one)))
      caught.push(await huntOn(name, placeOf(place), folder, { most, batch, seed }))
    return caught
  } finally {
    await rm(folder, { recursive: true })
  }
}

async function huntOn(
  guard: string,
  place: Place,
  folder: string,
  { most, batch, seed }: { readonly most: number; readonly batch: number; readonly seed: number },
): Promise<Caught> {
  const about = { guard, place: place.name }
  for (let done = 0; done < most; done += batch) {
    const programs = Math.min(batch, most - done)
    const amount = { programs, seed: seed + done / batch }
    const report = await runOn(place, folder, amount)
    // Programs that wait for each other without any bug prove nothing.
    if (report === undefined && (await runOn(place, root, amount)) === undefined)
      throw new Error(
        `programs of seed ${amount.seed} on ${place.name} never end with the guard either`,
      )
    if (report === undefined)
      return { ...about, program: done + 1, violation: 'it never ends', programs: done + programs }
    const [first] = report.wrong
    if (first !== undefined)
      return {
        ...about,
        program: done + first.number,
        violation: withoutNames(first.wrong[0] ?? ''),
        programs: done + programs,
      }
  }
  return { ...about, program: undefined, violation: '', programs: most }
}

/** Programs have other names each time. */
const withoutNames = (text: string): string => text.replaceAll(/\bp\d+-\d+(?:\.\d+)?n?/g, '…')
