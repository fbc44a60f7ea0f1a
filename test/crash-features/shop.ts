/** The app that serves HTTP, each request once, and asks for prices. */
import { randomUUID } from 'node:crypto'
import { once as eventOf } from 'node:events'
import { createServer } from 'node:http'
import express from 'express'
import { isMersalError, type Mersal } from '../../src/index.ts'
import { idempotency } from '../../src/http.ts'
import { Pay, Quote, Remind, Start } from './clerk.ts'
import type { Desk } from './desk.ts'
import { clerkOf, quoteNumbers, REMINDER_MS, type Request } from './plan.ts'

type App = Mersal<unknown>
type At = (moment: string) => void

class Undone extends Error {}

/** Resolves to the port. */
export async function serve(app: App, desk: Desk, at: At): Promise<number> {
  const web = express()
  web.use(express.json())
  const route = idempotency(app)
  const answered = (response: express.Response, path: Request['path']): void =>
    void response.on('finish', () => at(`response(${path}) sent`))
  web.post('/orders', (request, response, next) => {
    answered(response, 'orders')
    void route.express(async ({ body }: express.Request, tx, { send }) => {
      const { number } = body as Request
      const stamp = randomUUID()
      const reminder = await send(Remind, { number }, { delayMs: REMINDER_MS })
      await desk.run(
        tx,
        'insert into orders (number, stamp, reminder) values (?, ?, ?) /* order */',
        number,
        stamp,
        reminder,
      )
      await send(Start, { number })
      return Response.json({ number, stamp }, { status: 201 })
    })(request, response, next)
  })
  web.post('/payments', (request, response, next) => {
    answered(response, 'payments')
    void route.express(async ({ body }: express.Request, tx, { send }) => {
      const { number, part } = body as Request
      const stamp = randomUUID()
      const sql = 'insert into payments (number, part, stamp) values (?, ?, ?) /* payment */'
      await desk.run(tx, sql, number, part, stamp)
      await send(Pay, { number, part })
      return Response.json({ number, part, stamp }, { status: 201 })
    })(request, response, next)
  })
  web.delete('/reminders', (request, response, next) => {
    answered(response, 'reminders')
    void route.express(async ({ body }: express.Request, tx, { cancel }) => {
      const { number } = body as Request
      return Response.json({ answer: await takenBack(desk, tx, cancel, number) })
    })(request, response, next)
  })
  // Takes it back, and then fails.
  web.post('/reminders', async (request, response) => {
    const { number } = request.body as Request
    try {
      await app.transaction(async (tx, { cancel }) => {
        await takenBack(desk, tx, cancel, number)
        throw new Undone()
      })
    } catch (error) {
      response.status(error instanceof Undone ? 409 : 503).end()
    }
  })
  const server = createServer(web).listen(0, '127.0.0.1')
  await eventOf(server, 'listening')
  return (server.address() as { port: number }).port
}

async function takenBack(
  desk: Desk,
  tx: unknown,
  cancel: (id: string) => Promise<string>,
  number: number,
): Promise<string> {
  const [order] = await desk.run(tx, 'select reminder from orders where number = ?', number)
  const answer = await cancel(String(order?.['reminder']))
  const sql = 'insert into cancels (number, answer) values (?, ?) /* cancelled */'
  await desk.run(tx, sql, number, answer)
  return answer
}

/** Asks for every price that is not known yet, as often as needed. */
export async function askAll(app: App, desk: Desk, cell: string): Promise<void> {
  for (const number of quoteNumbers) {
    const [known] = await desk.ask('select number from quotes where number = ?', number)
    if (known === undefined) await ask(app, desk, { cell, number })
  }
}

interface Question {
  readonly cell: string
  readonly number: number
}

/** The id is written down before, so that whoever comes back knows what it has asked. */
async function ask(app: App, desk: Desk, { cell, number }: Question): Promise<void> {
  const [before] = await desk.ask('select id from asked where number = ?', number)
  const id = before === undefined ? randomUUID() : String(before['id'])
  if (before === undefined)
    await desk.ask('insert into asked (number, id) values (?, ?)', number, id)
  for (let comesBack = before !== undefined; ; comesBack = true) {
    const outcome = comesBack ? await app.outcome(id, { consumer: clerkOf(cell) }) : 'left'
    const found =
      outcome === 'handled' ? await looked(desk, number) : await replied(app, { number, id })
    if (found === undefined) continue
    const sql = 'insert into quotes (number, cents, way) values (?, ?, ?)'
    await desk.ask(sql, number, found, outcome === 'handled' ? 'outcome' : 'reply')
    return
  }
}

async function looked(desk: Desk, number: number): Promise<number | undefined> {
  const [row] = await desk.ask('select cents from quoted where number = ?', number)
  return row === undefined ? undefined : Number(row['cents'])
}

/** Undefined: nobody has replied. */
async function replied(
  app: App,
  { number, id }: { readonly number: number; readonly id: string },
): Promise<number | undefined> {
  try {
    return (await app.request(Quote, { number }, { id, timeoutMs: 2000 })).cents
  } catch (error) {
    if (isMersalError(error, 'MERSAL_NO_REPLY')) return undefined
    throw error
  }
}
