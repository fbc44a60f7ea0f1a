import { describe, expect, test } from 'vitest'
import type { OutgoingMessage } from '../../../../src/core/messages/message.ts'
import type { RelayOptions } from '../../../../src/outbox/options.ts'
import { calm, confirmed, message, relays, type Setup, testTransport } from '../support.ts'

const { start } = relays()

const many = (count: number, to: string, more: { readonly key?: string } = {}): OutgoingMessage[] =>
  Array.from({ length: count }, (_, index) => message(`${to}-${index}`, { to, ...more }))

/** A relay whose destinations called `slow…` confirm after so long; the others at once. */
function startWith(options: RelayOptions = {}, slowMs = 500): Setup {
  const transport = testTransport()
  transport.behaviour = ({ to }) => (to.name.startsWith('slow') ? undefined : confirmed)
  const made = start({ pollIntervalMs: 1000, ...options }, { transport })
  const publish = transport.publish.bind(transport)
  transport.publish = (messages, given) => {
    const before = transport.published.length
    const answers = publish(messages, given)
    const mine = transport.published
      .slice(before)
      .filter(({ message: { to } }) => to.name.startsWith('slow'))
    void made.clock.sleep(slowMs).then(() => mine.forEach(({ answer }) => answer(confirmed)))
    return answers
  }
  return made
}

const publishedTo = ({ transport }: Setup, name: string): number =>
  transport.published.filter(({ message: { to } }) => to.name === name).length

async function elapse({ clock }: Setup, ms: number): Promise<void> {
  for (let gone = 0; gone < ms; gone += 10) {
    await calm()
    await clock.advance(10)
  }
  await calm()
}

/** Milliseconds until the message is published. */
async function latency(made: Setup, to: string): Promise<number> {
  const before = publishedTo(made, to)
  await made.add(message(`${to}-${before}-late`, { to }))
  for (let ms = 0; ; ms += 10) {
    await calm()
    if (publishedTo(made, to) > before) return ms
    if (ms > 20_000) throw new Error('never published')
    await made.clock.advance(10)
  }
}

describe('a slow destination', () => {
  test('does not make messages to another one wait, however many of its own there are', async () => {
    const made = startWith()
    await made.add(...many(6000, 'slow'))
    await elapse(made, 1000)
    for (let time = 0; time < 10; time++) {
      expect(await latency(made, 'fast')).toBeLessThanOrEqual(10)
      await elapse(made, 70)
    }
  })

  test('does not take the whole window before its first answer shows that it is slow', async () => {
    const made = startWith()
    await made.add(...many(6000, 'slow'), ...many(1000, 'fast'))
    await elapse(made, 100)
    expect(publishedTo(made, 'fast')).toBe(1000)
    expect(publishedTo(made, 'slow')).toBeGreaterThanOrEqual(250)
  })

  // One look walks over 10,000 rows at most, so that the first ones see nothing of the other one.
  test('borrows nothing before all of the outbox has been looked through for others', async () => {
    const made = startWith()
    await made.add(...many(12_000, 'slow'), ...many(3000, 'fast'))
    await elapse(made, 100)
    expect(publishedTo(made, 'fast')).toBe(3000)
    const slowFirst = made.transport.published.findLastIndex(
      ({ message: { to } }) => to.name === 'fast',
    )
    expect(slowFirst - 2999, 'slow ones before the last fast one').toBe(500)
  })

  test('takes most of the window when nobody else wants it', async () => {
    const made = startWith()
    await made.add(...many(6000, 'slow'))
    await elapse(made, 1000)
    const before = publishedTo(made, 'slow')
    await elapse(made, 2000)
    expect(publishedTo(made, 'slow') - before).toBeGreaterThanOrEqual(4 * 700)
  })

  test('takes most of the window, too, while delayed messages of others fall due, which are not late', async () => {
    const made = startWith({ pollIntervalMs: 60_000 })
    const delayed = Array.from({ length: 300 }, (_, index) =>
      message(`delayed-${index}`, { to: 'fast', delayMs: 10 * (index + 1) }),
    )
    await made.add(...delayed, ...many(6000, 'slow'))
    await elapse(made, 1000)
    made.hooks.beforeClaim = () => made.clock.sleep(10)
    const before = publishedTo(made, 'slow')
    await elapse(made, 1990)
    // Without delayed messages it is 2250; a quarter of the window would be 1000.
    expect(publishedTo(made, 'slow') - before).toBeGreaterThanOrEqual(2200)
    expect(publishedTo(made, 'fast')).toBeGreaterThanOrEqual(298 - 6)
  })

  test('gets its delayed messages at their time while it has room', async () => {
    const made = startWith({ pollIntervalMs: 60_000 })
    await made.add(...many(1200, 'slow'))
    await elapse(made, 700)
    const except = made.claims.slice(-10).flatMap((claim) => claim.exceptDestinations ?? [])
    expect(except, 'it is known to be slow').toContain('default/queue/slow')
    await made.add(message('delayed', { to: 'slow', delayMs: 500 }))
    const sent = (): boolean =>
      made.transport.published.some(({ message: { id } }) => id === 'delayed')
    await elapse(made, 490)
    expect(sent()).toBe(false)
    await elapse(made, 40)
    expect(sent()).toBe(true)
  })

  // Of the due rows those of slow destinations have their turn, when these hold all that they may:
  // a loop that waited for room then would hold up the rows of the others behind them.
  test('that has no room left makes no delayed message of another one late', async () => {
    const made = startWith({ batchSize: 20, window: 40, pollIntervalMs: 60_000 }, 2000)
    await made.add(...many(400, 'slow'))
    await elapse(made, 4500)
    expect(publishedTo(made, 'slow') % 30, 'it holds all that it may').toBe(0)
    const delays = Array.from({ length: 20 }, (_, index) => 100 + 20 * index)
    await made.add(
      ...delays.map((delayMs) => message(`late-${delayMs}`, { to: 'slow', delayMs })),
      ...delays.map((delayMs) => message(`at-${delayMs}`, { to: 'fast', delayMs })),
    )
    await elapse(made, 90)
    const [before, slow] = [made.claims.length, publishedTo(made, 'slow')]
    for (const [index, delayMs] of delays.entries()) {
      await elapse(made, 20)
      expect(publishedTo(made, 'fast'), `after ${delayMs} ms`).toBe(index + 1)
    }
    expect(publishedTo(made, 'slow')).toBe(slow)
    const others = made.claims.slice(before).filter(({ positions }) => positions === undefined)
    expect(others.length, 'one for each time that comes').toBeLessThanOrEqual(delays.length)
    await elapse(made, 60_000)
    expect(publishedTo(made, 'slow')).toBe(420)
  })

  test('gets its share while another one has more than enough to do, and gives back the rest', async () => {
    const made = startWith({ batchSize: 20, window: 40 })
    await made.add(...many(400, 'slow'))
    await elapse(made, 1000)
    await made.add(...many(5000, 'fast'))
    const before = publishedTo(made, 'slow')
    await elapse(made, 2000)
    expect(publishedTo(made, 'fast')).toBe(5000)
    expect(
      publishedTo(made, 'slow') - before,
      'about a quarter of 40 each half second',
    ).toBeGreaterThanOrEqual(4 * 5)
  })

  test('is one of ten, and the fast one still does not wait', async () => {
    const count = 10
    const made = startWith({ batchSize: 100, window: 200 })
    for (let each = 0; each < count; each++) await made.add(...many(600, `slow${each}`))
    // Each slow one has to show that it is.
    await elapse(made, 5000)
    for (let time = 0; time < 10; time++) {
      expect(await latency(made, 'fast')).toBeLessThanOrEqual(10)
      await elapse(made, 70)
    }
    await elapse(made, 60_000)
    for (let each = 0; each < count; each++)
      expect(publishedTo(made, `slow${each}`), `slow${each}`).toBe(600)
  })

  test('holds up another one with a window of a few messages for no longer than one of its own takes', async () => {
    for (const window of [1, 2, 4]) {
      const made = startWith({ batchSize: 1, window })
      await made.add(...many(50, 'slow'))
      await elapse(made, 2000)
      expect(await latency(made, 'fast'), `a window of ${window}`).toBeLessThanOrEqual(500)
    }
  })

  test('keeps the order of its keys, with a hot one too', async () => {
    const made = startWith({ batchSize: 50, window: 100 }, 300)
    await made.add(...many(30, 'slow', { key: 'hot' }), ...many(300, 'slowly'))
    await elapse(made, 20_000)
    const hot = made.transport.published
      .filter(({ message: { to } }) => to.name === 'slow')
      .map(({ message: { id } }) => id)
    expect(hot).toEqual(Array.from({ length: 30 }, (_, index) => `slow-${index}`))
    expect((await made.store.admin.stats()).pending).toBe(0)
  })

  test('fills no express lane: messages of others still have room in it', async () => {
    const made = startWith({ batchSize: 10, window: 40 })
    await elapse(made, 100)
    for (let unit = 0; unit < 12; unit++) {
      const offer = made.relay.express()
      if (offer !== undefined) {
        const rows = many(10, 'slow').map((each) => ({ ...each, id: `${unit}-${each.id}` }))
        offer.dispatch(await made.addExpress(offer.token, offer.graceMs, ...rows))
      }
      await elapse(made, 130)
    }
    expect(made.relay.express(), 'the lane is open').toBeDefined()
  })

  test('names no more destinations in a claim than a bounded number', async () => {
    const made = startWith({ batchSize: 500, window: 1000 })
    for (let each = 0; each < 400; each++)
      await made.add(
        message(`slow${each}-1`, { to: `slow${each}` }),
        message(`slow${each}-2`, { to: `slow${each}` }),
      )
    await elapse(made, 1000)
    for (const { exceptDestinations = [] } of made.claims)
      expect(exceptDestinations.length).toBeLessThanOrEqual(100)
  })

  test('is forgotten when it is fast again', async () => {
    const made = startWith()
    await made.add(...many(100, 'slow'))
    await elapse(made, 2000)
    await made.add(...many(10, 'fast'))
    await elapse(made, 2000)
    expect(made.claims.at(-1)?.exceptDestinations).toBeUndefined()
    expect((await made.store.admin.stats()).pending).toBe(0)
  })
})
