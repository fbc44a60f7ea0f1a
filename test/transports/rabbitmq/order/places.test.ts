import { describe, expect, test } from 'vitest'
import { silentLogger } from '../../../../src/core/telemetry.ts'
import { inHand } from '../../../../src/transports/shared/deliver.ts'
import { AHEAD, Places } from '../../../../src/transports/rabbitmq/order/split/places.ts'

function opened() {
  const stop = new AbortController()
  const told: number[] = []
  let begun = 0
  const places = new Places({
    queue: 'q',
    logger: silentLogger,
    channel: { giveUp: () => {} },
    running: inHand(),
    stopping: stop.signal,
  })
  let count = 0
  const take = () => {
    const number = ++count
    return places.take(() => told.push(number))
  }
  const stay = (): void => {
    const place = take()
    place.stay()
    place.end('requeue')
  }
  places.begin(async () => {
    begun++
  })
  return { stop, told, take, stay, begun: () => begun }
}

describe('places of a splitter', () => {
  test('are made only when nothing can be on its way, and answers wait until then', async () => {
    const { told, take, stay, begun } = opened()
    take().end('ack')
    expect(told).toEqual([1])
    for (let count = 0; count < AHEAD / 2; count++) stay()
    for (let count = 0; count < AHEAD / 2 - 1; count++) take().end('ack')
    expect([begun(), told]).toEqual([0, [1]])
    const last = take()
    await expect.poll(begun).toBe(1)
    expect(told).toHaveLength(AHEAD / 2)
    last.end('ack')
    expect(told).toHaveLength(AHEAD / 2 + 1)
  })

  test('hold no answer back when the splitter stops', () => {
    const { stop, told, take, stay, begun } = opened()
    for (let count = 0; count < AHEAD / 2; count++) stay()
    const [first, second] = [take(), take()]
    first.end('ack')
    expect(told).toEqual([])
    stop.abort()
    second.end('ack')
    expect([begun(), told]).toEqual([0, [AHEAD / 2 + 1, AHEAD / 2 + 2]])
  })
})
