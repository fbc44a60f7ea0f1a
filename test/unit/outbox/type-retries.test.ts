import { expect, test } from 'vitest'
import { relaySettings, type RelayOptions } from '../../../src/outbox/options.ts'
import { longestRetryMs, type RefusalOptions } from '../../../src/outbox/type-retries.ts'
import { message, refusedForGood, refusedOnce, setup, testTransport } from './support.ts'

const TYPE = message('m').type
const retry = { firstMs: 1000, longestMs: 1000 }

/** What is settled of a message whose type has these retries, and which is refused at each try. */
async function refused(own: RefusalOptions, { outcome = refusedOnce, tries = 1, key = '' } = {}) {
  const transport = testTransport()
  transport.behaviour = () => outcome
  const options: RelayOptions = { maxAttempts: 4, retry, retries: { [TYPE]: own } }
  const { relay, add, clock, log, settlements } = setup(options, { transport })
  await add(message('m', key === '' ? {} : { key }))
  relay.start()
  await clock.advance(10)
  for (let n = 1; n < tries; n++) await clock.advance(3_600_000)
  const stopping = relay.stop()
  await clock.advance(10)
  await stopping
  return {
    settled: settlements.flat().filter(({ kind }) => kind !== 'release'),
    errors: log.filter(({ level, message: text }) => level === 'error' && text.includes('retries')),
  }
}

test('a type has attempts and a backoff of its own; others have those of all', async () => {
  const own = { maxAttempts: 6, backoff: { firstMs: 20, longestMs: 20 } }
  const { settled } = await refused(own, { tries: 8 })
  expect(settled.map(({ kind }) => kind)).toEqual([
    ...Array.from({ length: 5 }, () => 'retry'),
    'dead',
  ])
  // Equal jitter, and the chance of the tests is one half.
  expect(settled[0]).toMatchObject({ delayMs: 15 })
  const other = await refused({}, { tries: 6 })
  expect(other.settled).toHaveLength(4)
  expect(other.settled[0]).toMatchObject({ delayMs: 750 })
})

test('a function is asked with the number of the attempt and the error of the refusal', async () => {
  const asked: unknown[] = []
  const backoff = (attempt: number, error: unknown): number => {
    asked.push([attempt, (error as Error).message])
    return attempt * 10.5
  }
  const { settled } = await refused({ backoff }, { tries: 3 })
  expect(asked.slice(0, 2)).toEqual([
    [1, 'not now'],
    [2, 'not now'],
  ])
  expect(settled[0]).toMatchObject({ kind: 'retry', delayMs: 11 })
  const hour = await refused({ backoff: () => 1e12 })
  expect(hour.settled).toMatchObject([{ kind: 'retry', delayMs: 3_600_000 }])
})

test('P2: what retryIf refuses is a dead letter at once, with the reason of the refusal', async () => {
  const { settled, errors } = await refused({ retryIf: () => false })
  expect(settled).toMatchObject([{ kind: 'dead', reason: 'refused', maybePublished: false }])
  expect(errors).toEqual([])
})

test('a refusal for good asks nobody', async () => {
  const retryIf = (): boolean => {
    throw new Error('asked')
  }
  const { settled, errors } = await refused({ retryIf }, { outcome: refusedForGood })
  expect(settled).toMatchObject([{ kind: 'dead', reason: 'unroutable' }])
  expect(errors).toEqual([])
})

test.each<[string, RefusalOptions, string]>([
  ['retryIf throws', { retryIf: () => JSON.parse('{') as boolean }, 'retryIf'],
  ['retryIf answers something else', { retryIf: () => 'no' as never }, 'retryIf'],
  [
    'retryIf answers a promise',
    { retryIf: (() => Promise.reject(new Error())) as never },
    'retryIf',
  ],
  ['backoff throws', { backoff: () => JSON.parse('{') as number }, 'backoff'],
  ['backoff answers no number', { backoff: () => Number.NaN }, 'backoff'],
  ['backoff answers a negative number', { backoff: () => -1 }, 'backoff'],
  ['backoff answers null', { backoff: () => null as never }, 'backoff'],
  ['backoff answers a text', { backoff: () => '5' as never }, 'backoff'],
  [
    'backoff answers a promise',
    { backoff: (() => Promise.reject(new Error())) as never },
    'backoff',
  ],
])(
  'the message is tried again as others are, with an error in the log, where %s',
  async (_, own, name) => {
    const { settled, errors } = await refused(own)
    expect(settled).toMatchObject([{ kind: 'retry', delayMs: 750 }])
    expect(errors.map(({ message: text }) => text)).toEqual([
      `outbox.relay.retries.${TYPE}.${name} is of no use here; the message is tried again as others are`,
    ])
  },
)

test.each<[object, string]>([
  [{ a: { maxAttempts: 0 } }, 'outbox.relay.retries.a.maxAttempts'],
  [{ a: { maxAttempts: Number.NaN } }, 'outbox.relay.retries.a.maxAttempts'],
  [{ a: { backoff: 5 } }, 'outbox.relay.retries.a.backoff'],
  [{ a: { backoff: { firstMs: -1, longestMs: 5 } } }, 'outbox.relay.retries.a.backoff.firstMs'],
  [{ a: { retryIf: true } }, 'outbox.relay.retries.a.retryIf'],
  [{ a: { retryif: () => true } }, 'outbox.relay.retries.a.retryif'],
  [{ a: 5 }, 'outbox.relay.retries.a'],
  [{ 'a b': {} }, 'outbox.relay.retries.a b'],
  [[], 'outbox.relay.retries'],
])('nonsense is refused: %o', (retries, field) => {
  const options = { retries } as RelayOptions
  expect(() => relaySettings(options)).toThrowError(
    expect.objectContaining({ code: 'MERSAL_INVALID_OPTIONS', details: { field } }) as Error,
  )
})

test('P8: a message with many attempts of its own is no suspect before they are used up', async () => {
  const { settled } = await refused({ maxAttempts: 9, backoff: () => 1 }, { tries: 12 })
  expect(settled.map(({ kind }) => kind)).toEqual([
    ...Array.from({ length: 8 }, () => 'retry'),
    'dead',
  ])
})

test.each([[null], [5], ['all'], [[]]])(
  'retries that are no object (%j) are refused by name',
  (retries) => {
    expect(() => relaySettings({ retries: retries as never })).toThrow(
      /^outbox\.relay\.retries: expected an object with retries by name/,
    )
  },
)

test('the longest waiting time counts those of all types', () => {
  const of = (own: RefusalOptions): number =>
    longestRetryMs(relaySettings({ retry, retries: { a: own } }))
  expect(of({})).toBe(1000)
  expect(of({ backoff: { firstMs: 5, longestMs: 7000 } })).toBe(7000)
  expect(of({ backoff: () => 5 })).toBe(3_600_000)
})
