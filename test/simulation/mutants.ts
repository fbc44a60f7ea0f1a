import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Change, planted } from '../chaos/planted.ts'
import { simulate } from './simulate.ts'
import type { Subject } from './subject.ts'

/** A deliberate bug. */
export interface Mutant extends Change {
  readonly name: string
  /** Names of the checks that may see it. */
  readonly seenBy: readonly string[]
  /** A seed that has shown it, to be tried before the others. Default: none is known. */
  readonly seed?: number
}

export const mutants: readonly Mutant[] = [
  {
    name: 'a settlement is not fenced by its token',
    file: 'stores/memory/outbox.ts',
    from: 'row === undefined || row.token !== settlement.token',
    to: 'row === undefined',
    seenBy: ['lost', 'duplicates', 'inversion', 'budget'],
    seed: 135,
  },
  {
    name: 'a keyed message takes the express lane past an open row of its key',
    file: 'stores/memory/save.ts',
    from: 'if (state.database.outbox.hasOpenRow(key)) return false',
    to: '',
    seenBy: ['inversion'],
  },
  {
    name: 'a claim takes a row whose predecessor in the key is not in it',
    file: 'stores/memory/outbox.ts',
    from: 'if (row.previous !== undefined && !taken.has(row.previous)) continue',
    to: '',
    seenBy: ['inversion'],
  },
  {
    name: 'several messages of a key are unconfirmed at one time',
    file: 'outbox/publish/handing-over.ts',
    from: "ordering === 'per-key' && run.probe === undefined",
    to: 'run.probe === undefined',
    seenBy: ['inversion'],
  },
  {
    name: 'a relay goes on publishing after its claim has ended',
    file: 'outbox/publish/progress.ts',
    from: 'return this.#ports.ending.closed || this.#environment.clock.monotonic() >= terms.publishUntil',
    to: 'return this.#ports.ending.closed && terms.publishUntil > 0',
    seenBy: ['duplicates', 'inversion'],
  },
  {
    name: 'the later rows of a key go on after a refusal',
    file: 'outbox/publish/progress.ts',
    from: 'this.#end(batch, run, this.#settlementFor(batch, row, outcome))',
    to: 'this.#settle(batch, row, this.#settlementFor(batch, row, outcome), false); run.next++; run.next < run.rows.length ? (run.handed <= run.next ? this.goOn(batch, run) : undefined) : (run.ended = true, this.#finish(batch, run))',
    seenBy: ['inversion'],
  },
  {
    name: 'an outage is charged to the messages',
    file: 'outbox/settle/settle-policy.ts',
    from: "return {\n        kind: 'release',\n        position,\n        token,\n        delayMs: backoffMs(circumstances.settings.breaker, 1, circumstances.random),\n      }",
    to: "return { kind: 'retry', position, token, delayMs: 50, error: outcome.error }",
    seenBy: ['innocent', 'budget', 'stuck'],
    seed: 50,
  },
  {
    name: 'no slow mode: suspects are published in batches for ever',
    file: 'outbox/claim/dispatch.ts',
    from: 'if (suspect && !slowMode.on) {',
    to: 'if (suspect && slowMode.on) {',
    seenBy: ['stuck', 'lost', 'innocent'],
  },
  {
    name: 'no answer counts as a confirm',
    file: 'outbox/publish/progress.ts',
    from: "if (outcome.kind === 'confirmed') return this.#confirmed(batch, run, row)",
    to: "if (outcome.kind === 'confirmed' || outcome.kind === 'unknown') return this.#confirmed(batch, run, row)",
    seenBy: ['lost', 'inversion'],
  },
  {
    name: 'the express lane ignores how much of the grace has passed',
    file: 'outbox/publish/express-lane.ts',
    from: 'publishUntil: offeredAt + graceMs / 2',
    to: 'publishUntil: Number.POSITIVE_INFINITY',
    seenBy: ['duplicates', 'inversion'],
  },
  {
    name: 'a sweep begins anew after each stretch',
    file: 'outbox/claim/scan.ts',
    from: 'this.#sweepAt = stopped.next',
    to: 'this.#sweepAt = 0n',
    seenBy: ['stuck', 'lost'],
    seed: 637,
  },
  {
    name: 'a slow destination may take all of the window',
    file: 'outbox/limits/shares.ts',
    from: 'if (list.length === 0) {',
    to: 'if (list.length >= 0) {',
    seenBy: ['latency'],
    seed: 24,
  },
]

/** Copies the source, puts the bug into the copy, and hands over what the copy exports. */
export async function withMutant<Result>(
  mutant: Mutant | undefined,
  use: (subject: Subject) => Promise<Result>,
): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'mersal-mutant-'))
  try {
    for (const part of [
      'core',
      'lib',
      'outbox',
      'sql/shared',
      'stores/memory',
      'stores/memory.ts',
    ]) {
      await cp(join(import.meta.dirname, '../../src', part), join(folder, part), {
        recursive: true,
      })
    }
    await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
    if (mutant !== undefined)
      await writeFile(join(folder, mutant.file), await planted(mutant.name, folder, mutant))
    const load = async (path: string): Promise<unknown> =>
      import(/* @vite-ignore */ pathToFileURL(join(folder, path)).href)
    const relay = (await load('outbox/relay.ts')) as Pick<Subject, 'createRelay'>
    const store = (await load('stores/memory.ts')) as Pick<Subject, 'memoryStore'>
    return await use({ createRelay: relay.createRelay, memoryStore: store.memoryStore })
  } finally {
    await rm(folder, { recursive: true })
  }
}

const MOST_SEEDS = 2000

interface Found {
  readonly seed: number
  readonly violations: readonly string[]
}

/** The first seed that shows the bug, and what the checks say. */
export async function hunt(subject: Subject): Promise<Found | undefined> {
  for (let seed = 1; seed <= MOST_SEEDS; seed++) {
    const { violations } = await simulate(seed, subject)
    if (violations.length > 0) return { seed, violations }
  }
  return undefined
}

/** Tries the seed that is known to show the bug; if it shows nothing any more, all of them. */
export async function find({ seed }: Mutant, subject: Subject): Promise<Found | undefined> {
  if (seed === undefined) return hunt(subject)
  const { violations } = await simulate(seed, subject)
  return violations.length > 0 ? { seed, violations } : hunt(subject)
}
