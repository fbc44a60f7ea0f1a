import { describe, expect, test } from 'vitest'
import { command, event, Mersal } from '../../../../src/index.ts'
import { memoryNetwork } from '../../../../src/memory.ts'
import { fakeTransport } from '../../support/fake-transport.ts'
import { openShop } from '../../support/shop.ts'

const Print = command<{ page: number }>('print')
const Printed = event<{ page: number }>('printed')

function setUp() {
  const shop = openShop({
    bridges: { legacy: fakeTransport() },
    routes: { print: { queue: 'printer', transport: 'legacy' } },
  })
  const send = (to: unknown) =>
    shop.app.transaction((_, sender) => sender.send(Print, { page: 1 }, { to: to as string }))
  return { ...shop, send }
}

describe('an address at run time', () => {
  test('takes the place of the route; a queue alone is on the transport of the route', async () => {
    const { send, rows } = setUp()
    await send('printer-2')
    await send({ queue: 'printer-3' })
    await send({ queue: 'printer-4', transport: 'default' })
    expect((await rows()).map(({ to }) => to)).toEqual([
      { transport: 'legacy', kind: 'queue', name: 'printer-2' },
      { transport: 'legacy', kind: 'queue', name: 'printer-3' },
      { transport: 'default', kind: 'queue', name: 'printer-4' },
    ])
  })

  test('needs no route', async () => {
    const { app, rows } = openShop()
    await app.transaction((_, { send }) => send(Print, { page: 1 }, { to: 'printer' }))
    expect((await rows()).map(({ to }) => to.name)).toEqual(['printer'])
  })

  test('brings the message to the app of that name', async () => {
    const network = memoryNetwork()
    const seen: string[] = []
    const printers = ['east', 'west'].map((name) => {
      const app = new Mersal({ name, transport: network.transport(), logger: false })
      app.handle(Print, () => void seen.push(name))
      return app
    })
    for (const printer of printers) await printer.start()
    const transport = network.transport()
    const desk = new Mersal({ name: 'desk', transport, sendOnly: true, logger: false })
    await desk.start()
    await desk.direct.send(Print, { page: 1 }, { to: 'west' })
    await expect.poll(() => seen).toEqual(['west'])
    const nowhere = desk.direct.send(Print, { page: 1 }, { to: 'north' })
    await expect(nowhere).rejects.toMatchObject({ code: 'MERSAL_UNROUTABLE' })
    await Promise.all([desk, ...printers].map((app) => app.stop()))
  })

  test.each([
    ['empty', '', 'to'],
    ['with a blank', 'the printer', 'to'],
    ['of RabbitMQ', 'amq.direct', 'to'],
    ['a number', 5, 'to'],
    ['null', null, 'to'],
    ['a list', ['printer'], 'to'],
    ['without a queue', {}, 'to.queue'],
    ['on an unknown transport', { queue: 'printer', transport: 'legcy' }, 'to.transport'],
    ['on a transport without a name', { queue: 'printer', transport: 5 }, 'to.transport'],
  ])('that is %s is refused, and names the field', async (_what, to, field) => {
    const { send, rows } = setUp()
    const refused = { code: 'MERSAL_INVALID_MESSAGE', details: { field } }
    await expect(send(to)).rejects.toMatchObject(refused)
    expect(await rows()).toEqual([])
  })

  test('with an unknown part is refused', async () => {
    const { send } = setUp()
    await expect(send({ queue: 'printer', bridge: 'legacy' })).rejects.toMatchObject({
      code: 'MERSAL_INVALID_OPTIONS',
      details: { field: 'to.bridge' },
    })
  })

  test('suggests the transport that was meant', async () => {
    const { send } = setUp()
    const lost = send({ queue: 'printer', transport: 'legcy' })
    await expect(lost).rejects.toThrow("did you mean 'legacy'?")
  })

  test('of an event is a transport alone: a bridge publishes there what it has from elsewhere', async () => {
    const { app, rows } = setUp()
    const publish = (to: unknown) =>
      app.transaction((_, sender) =>
        sender.publish(Printed, { page: 1 }, { to: to as { transport: string } }),
      )
    await publish({ transport: 'legacy' })
    await publish({ transport: 'default' })
    expect((await rows()).map(({ to }) => to)).toEqual([
      { transport: 'legacy', kind: 'topic', name: 'printed' },
      { transport: 'default', kind: 'topic', name: 'printed' },
    ])
    for (const [to, field] of [
      ['printer', 'to'],
      [{ queue: 'printer', transport: 'legacy' }, 'to'],
      [null, 'to'],
      [{}, 'to.transport'],
      [{ transport: 'legcy' }, 'to.transport'],
    ])
      await expect(publish(to)).rejects.toMatchObject({
        code: 'MERSAL_INVALID_MESSAGE',
        details: { field },
      })
    await expect(publish({ transport: 'legacy', topic: 'x' })).rejects.toMatchObject({
      code: 'MERSAL_INVALID_OPTIONS',
      details: { field: 'to.topic' },
    })
    expect(await rows()).toEqual([])
  })

  test('is nothing for the own queue', async () => {
    const { app } = setUp()
    const local = app.transaction((_, { sendLocal }) =>
      sendLocal(Print, { page: 1 }, { to: 'printer' }),
    )
    await expect(local).rejects.toMatchObject({
      code: 'MERSAL_INVALID_MESSAGE',
      details: { field: 'to' },
    })
  })
})
