import { describe, expect, test } from 'vitest'
import { Mersal, event } from '../../../../src/index.ts'
import { memoryTransport } from '../../../../src/memory.ts'
import { json } from '../../support/fake-transport.ts'
import { openShop } from '../../support/shop.ts'

const Placed = event<{ id: number }>('orders.placed')
const Paid = event<{ id: number }>('orders.paid')
const trace = { traceparent: '00-aa-bb-01', tracestate: 'x=1', baggage: 'user=7' }

/** What a handler of this message sends, with these headers of its own. */
async function sentBy(
  headers: Record<string, string>,
  own: Record<string, string> | undefined,
  inheritHeaders?: readonly string[],
) {
  const { app, transport, rows } = openShop(inheritHeaders === undefined ? {} : { inheritHeaders })
  app.handle(Placed, async ({ id }, { publish }) => {
    await publish(Paid, { id }, own === undefined ? {} : { headers: own })
  })
  await app.start()
  const end = await transport.deliver('shop', { type: Placed.name, body: json({ id: 1 }), headers })
  expect(end).toEqual({ kind: 'ack' })
  const [row] = await rows()
  await app.stop()
  return row!.headers
}

describe('what a handler sends', () => {
  test('carries on the trace, and the headers that the app names', async () => {
    const headers = { ...trace, tenant: 'acme', colour: 'red' }
    const sent = await sentBy(headers, undefined, ['Tenant'])
    expect(sent).toMatchObject({ ...trace, tenant: 'acme' })
    expect(sent).not.toHaveProperty('colour')
  })

  test('has the headers of the sender before those of the message', async () => {
    const sent = await sentBy({ ...trace, tenant: 'acme' }, { TENANT: 'zoo', baggage: '' }, [
      'tenant',
    ])
    expect(sent).toMatchObject({ ...trace, tenant: 'zoo', baggage: '' })
  })

  test('carries on no state of a trace that it has left', async () => {
    const sent = await sentBy(trace, { traceparent: '00-cc-dd-01' })
    expect(sent).toMatchObject({ traceparent: '00-cc-dd-01', baggage: 'user=7' })
    expect(sent).not.toHaveProperty('tracestate')
  })

  test('leaves out what cannot travel, and what is no header of the message', async () => {
    const headers = { tenant: 'a\nb', baggage: 'x'.repeat(9000) }
    const sent = await sentBy(headers, undefined, ['tenant', 'constructor'])
    for (const name of ['tenant', 'baggage', 'traceparent']) expect(sent).not.toHaveProperty(name)
    expect(Object.hasOwn(sent, 'constructor')).toBe(false)
  })
})

test.each([
  ['tenant', 'inheritHeaders'],
  [[7], 'inheritHeaders[0]'],
  [['a', ''], 'inheritHeaders[1]'],
  [['two words'], 'inheritHeaders[0]'],
  [['Sent-At'], 'inheritHeaders[0]'],
  [['x-mersal-attempt'], 'inheritHeaders[0]'],
  [Array(51).fill('a'), 'inheritHeaders'],
])('inheritHeaders: %o is refused', (inheritHeaders, field) => {
  const options = {
    name: 'shop',
    transport: memoryTransport(),
    inheritHeaders: inheritHeaders as never,
  }
  expect(() => new Mersal(options)).toThrow(
    expect.objectContaining({ code: 'MERSAL_INVALID_OPTIONS', details: { field } }),
  )
})
