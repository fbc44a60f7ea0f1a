import type { DeadLetter } from '../../src/core/dead-letter.ts'
import { parseArguments } from '../../src/cli/arguments.ts'
import { checkConfig } from '../../src/cli/config/config.ts'
import { commonOptions } from '../../src/cli/help.ts'
import { createOutput } from '../../src/cli/output.ts'
import { verbs } from '../../src/cli/verbs.ts'
import { hear } from './soundness.ts'
import type { Place } from './places.ts'

/** What a terminal may get: nothing that moves the cursor, turns text around or hides it. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u
/** Most lines; to look for more in megabytes of base64 takes many times as long. */
const PLAIN = /^[\x20-\x7e]*$/

/**
 * `mersal dead …` on the store and the broker of this place. Throws if a line of its output is
 * unsafe.
 */
export async function dead(place: Place, args: readonly string[]): Promise<string> {
  const verb = await verbs['dead']!()
  const written = { out: '', note: '' }
  const stream = (name: 'out' | 'note') => ({
    write: (text: string, done?: () => void) => {
      written[name] += text
      done?.()
    },
    columns: 200,
  })
  const out = createOutput(stream('out'), stream('note'), {})
  const checked = checkConfig({ store: place.store, transport: place.transport })
  await verb.run({
    args: parseArguments(args, { ...verb.options, ...commonOptions }, Date.now()),
    out,
    cwd: process.cwd(),
    env: {},
    load: () => Promise.resolve({ ...checked, source: 'test' }),
  })
  hear(written.note)
  hear(written.out)
  for (const line of `${written.out}${written.note}`.split('\n')) {
    if (!PLAIN.test(line) && UNSAFE.test(line))
      throw new Error(`'mersal dead ${args.join(' ')}' printed ${JSON.stringify(line)}`)
  }
  return written.out
}

export interface Letter extends Omit<DeadLetter, 'body' | 'diedAt'> {
  readonly bodyBase64: string
}

/**
 * All dead letters as the program lists them. What is not in `shown` yet, it also lists and shows
 * as text, and adds it.
 */
export async function listLetters(
  place: Place,
  queue: string | undefined,
  shown: Set<string>,
): Promise<readonly Letter[]> {
  const where = queue === undefined ? [] : ['--queue', queue]
  const letters = JSON.parse(
    await dead(place, ['list', '--json', '--body', '--limit', '100000', ...where]),
  ) as Letter[]
  const fresh = letters.filter(({ id }) => !shown.has(id))
  if (fresh.length === 0) return letters
  for (const { id } of fresh) shown.add(id)
  await dead(place, ['list', '--limit', '100000', ...where])
  // Showing one means fetching all of them where the broker cannot look into a queue.
  for (const { key } of place.adapter === 'rabbitmq' && queue !== undefined
    ? fresh.slice(0, 3)
    : fresh) {
    await dead(place, ['show', key, '--body', ...where])
  }
  return letters
}
