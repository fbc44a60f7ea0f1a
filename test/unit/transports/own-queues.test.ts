import { describe, expect, test } from 'vitest'
import { MersalError } from '../../../src/core/errors/errors.ts'
import { silentLogger } from '../../../src/core/telemetry.ts'
import { manualClock } from '../../../src/testing/manual-clock.ts'
import { OwnQueues } from '../../../src/transports/shared/own-queues.ts'

/** A maker that does what it is told, or fails as often as `failures` says. */
function open({ failures = 0, declares = true, error = new Error('no') } = {}) {
  const clock = manualClock()
  const done: string[] = []
  let left = failures
  const own = new OwnQueues({
    maker: {
      async queue(name) {
        if (left-- > 0) throw error
        done.push(`queue ${name}`)
      },
      async bind(queue, topics, remove) {
        if (topics.length > 0) done.push(`${remove ? 'unbind' : 'bind'} ${queue} ${topics.join()}`)
      },
    },
    declares,
    pause: { firstMs: 1000, longestMs: 1000 },
    logger: silentLogger,
    clock,
    random: () => 1,
  })
  return { clock, own, done }
}

const toQueue = (name: string) => ({ kind: 'queue', name }) as const
const toTopic = (name: string) => ({ kind: 'topic', name }) as const

describe('the queues of a transport', () => {
  test('one that is read and missing is made again with its topics, and not while nobody reads', async () => {
    const { clock, own, done } = open()
    await own.subscribe('q', ['t', 'u'], false)
    expect([own.missing(toQueue('q')), own.missing(toTopic('t'))]).toEqual([undefined, undefined])
    own.read('q')
    done.length = 0
    const back = own.missing(toTopic('t'))
    expect(own.missing(toQueue('q'))).toBe(back)
    await clock.advance(1000)
    await back
    expect(done).toEqual(['queue q', 'bind q t,u'])
    own.unread('q')
    expect(own.missing(toQueue('q'))).toBeUndefined()
    own.close()
  })

  test('two readers: it is read until the last one goes', async () => {
    const { own } = open()
    own.read('q')
    own.read('q')
    own.unread('q')
    expect(own.missing(toQueue('q'))).toBeDefined()
    own.close()
  })

  test('while the broker is away, what was subscribed counts as wanted', async () => {
    const away = new MersalError('MERSAL_UNAVAILABLE', 'away')
    const { clock, own, done } = open({ failures: 2, error: away })
    await expect(own.subscribe('q', ['t'], false)).rejects.toBe(away)
    const back = own.missing(toTopic('t'))
    await clock.advance(2000)
    await back
    expect(done).toEqual(['queue q', 'bind q t'])
    own.close()
  })

  test('a topic that can never be bound does not come with later tries', async () => {
    const { own, done } = open({ failures: 1 })
    await expect(own.subscribe('q', ['bad'], false)).rejects.toThrow('no')
    await own.prepare('q')
    expect(done).toEqual(['queue q'])
  })

  test('with the topology of an operator nothing is ours to make', async () => {
    const { own } = open({ declares: false })
    await own.subscribe('q', [], false)
    own.read('q')
    expect(own.missing(toQueue('q'))).toBeUndefined()
  })

  test('subscriptions that somebody deletes come back, without those that were taken back', async () => {
    const { clock, own, done } = open()
    await own.subscribe('q', ['t', 'u'], false)
    await own.subscribe('q', ['u'], true)
    own.read('q')
    done.length = 0
    await clock.advance(12_500)
    expect(done).toEqual(['bind q t'])
    own.close()
  })
})
