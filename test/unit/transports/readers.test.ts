import { describe, expect, test } from 'vitest'
import type { Logger } from '../../../src/core/telemetry.ts'
import { Readers } from '../../../src/transports/shared/receiving/readers.ts'
import { trouble } from '../../../src/transports/shared/receiving/trouble.ts'

const STOPPED = { code: 'MERSAL_APP_STOPPED' }

/** What happens to a reader, in order. */
function reader(events: string[], start: () => Promise<void> = () => Promise.resolve()) {
  return {
    queue: 'q',
    start,
    force: (reason: Error) => void events.push(`forced: ${reason.message}`),
    async [Symbol.asyncDispose]() {
      await Promise.resolve()
      events.push('disposed')
    },
  }
}

function readers(events: string[]) {
  return new Readers({
    read: () => void events.push('read'),
    unread: () => void events.push('unread'),
  })
}

describe('the readers of a transport', () => {
  test('one that has begun counts for its queue until it is stopped, once', async () => {
    const events: string[] = []
    const all = readers(events)
    const stop = await all.begin(reader(events))
    expect([all.of('q').length, all.of('other').length]).toEqual([1, 0])
    await stop[Symbol.asyncDispose]()
    await stop[Symbol.asyncDispose]()
    expect(events).toEqual(['read', 'unread', 'disposed', 'disposed'])
    expect(all.of('q')).toEqual([])
  })

  test('one that does not begin is ended, and its error told', async () => {
    const events: string[] = []
    const all = readers(events)
    const failing = reader(events, () => Promise.reject(new Error('no such queue')))
    await expect(all.begin(failing)).rejects.toThrow('no such queue')
    expect(events).toEqual(['disposed'])
    expect(all.of('q')).toEqual([])
  })

  // The transport is closed between the first question of a reader and its answer.
  test.each(['begins', 'fails'])('one that %s after the closing is ended', async (how) => {
    const events: string[] = []
    const all = readers(events)
    const asked = Promise.withResolvers<void>()
    const beginning = all.begin(reader(events, () => asked.promise))
    expect(all.of('q').length).toBe(1)
    all.close()
    if (how === 'begins') asked.resolve()
    else asked.reject(new Error('the connection is gone'))
    await expect(beginning).rejects.toMatchObject(STOPPED)
    expect(events).toEqual(['forced: the transport has been closed', 'disposed'])
    expect(() => all.checkOpen()).toThrow(expect.objectContaining(STOPPED))
  })
})

test('an outage with two causes by turns is two warnings, until messages come again', () => {
  const levels: string[] = []
  const note = (level: string) => (): void => void levels.push(level)
  const logger: Logger = {
    debug: note('debug'),
    info: note('info'),
    warn: note('warn'),
    error: note('error'),
  }
  const troubles: (string | undefined)[] = []
  const onTrouble = (error: Error | undefined): void => void troubles.push(error?.message)
  const told = trouble(logger, { queue: 'q', onTrouble })
  told.over()
  expect(troubles).toEqual([])
  for (let turn = 0; turn < 3; turn++) {
    told.tell(new Error('one'))
    told.tell(new Error('the other'))
  }
  expect(levels).toEqual(['warn', 'warn', 'debug', 'debug', 'debug', 'debug'])
  expect(new Set(troubles)).toEqual(new Set(['one', 'the other']))
  told.over()
  told.over()
  told.note(new Error('without a line'))
  told.over()
  expect(troubles.slice(-3)).toEqual([undefined, 'without a line', undefined])
  expect(levels).toHaveLength(6)
  told.tell(new Error('one'))
  expect(levels.at(-1)).toBe('warn')
})
