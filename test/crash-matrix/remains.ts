/** Collects what a finished cell has left, and takes it away from the servers. */
import type { Channel, GetMessage } from 'amqplib'
import type { Copy, Remains } from './audit.ts'
import { committed, NOWHERE, type Part, topics } from './plan.ts'
import type { Place } from './place.ts'
import { progress } from './tables.ts'

/** Where one cell lives on the servers. */
export interface Site {
  readonly place: Place
  readonly schema: string
  readonly queue: string
  readonly exchange: string
  readonly straight: boolean
}

const tapOf = ({ queue }: Site): string => `${queue}.tap`
const nowhereOf = ({ queue }: Site): string => `${queue}.${NOWHERE}`
/** The shortest waiting time that there is. */
const retryOf = ({ queue }: Site): string => `${queue}.retry.100`
const parse = (bytes: Uint8Array): Part => JSON.parse(Buffer.from(bytes).toString()) as Part

/** The queue that nobody of Mersal reads, bound to everything. */
export async function bindTap(site: Site): Promise<void> {
  await site.place.plainly(async (channel) => {
    await channel.assertExchange(site.exchange, 'topic', { durable: true })
    await channel.assertQueue(tapOf(site), { durable: true })
    for (const topic of [topics.registered, topics.billed])
      await channel.bindQueue(tapOf(site), site.exchange, topic)
  })
}

/** From now on, what could not be delivered can be. */
export async function putRight(site: Site): Promise<void> {
  const { place, schema } = site
  await place.pool.query(`insert into ${schema}.put_right values (true)`)
  if (site.straight)
    await place.pool.query(`insert into ${schema}.queue (name) values ($1)`, [nowhereOf(site)])
  else await place.plainly((channel) => channel.assertQueue(nowhereOf(site), { durable: true }))
}

export interface Progress {
  readonly students: number
  readonly outbox: number
  readonly effects: number
  readonly dead: number
  readonly old_inbox: number
  readonly old_sent: number
}

export async function progressOf({ place, schema }: Site): Promise<Progress> {
  const { rows } = await place.pool.query<Progress>(progress(schema), [committed])
  return rows[0] as Progress
}

/** Dead letters of the consumer; copies of one message are one. */
export async function incomingLetters(site: Site): Promise<number> {
  if (site.straight)
    return await count(site, `select count(distinct id)::int as n from ${site.schema}.queue_dead`)
  return await site.place.plainly(async (channel) => {
    const ids = new Set<unknown>()
    for (;;) {
      const message = await channel.get(`${site.queue}.dead`)
      if (message === false) break
      ids.add(message.properties.messageId)
    }
    // By hand, so that it does not depend on when the broker does it for a channel that is closed.
    channel.nackAll(true)
    await channel.checkQueue(`${site.queue}.dead`)
    return ids.size
  })
}

/** Messages that wait for the consumer, as far as can be seen: not those in its hands. */
export async function waitingFor(site: Site): Promise<number> {
  if (site.straight)
    return await count(
      site,
      `select count(*)::int as n from ${site.schema}.queue_message m join ${site.schema}.queue q on q.id = m.queue where q.name = '${site.queue}'`,
    )
  return await site.place.plainly(async (channel) => {
    const [queue, retry] = [
      await channel.checkQueue(site.queue),
      await channel.checkQueue(retryOf(site)),
    ]
    return queue.messageCount + retry.messageCount
  })
}

async function count({ place }: Site, sql: string): Promise<number> {
  return (await place.pool.query<{ n: number }>(sql)).rows[0]?.n ?? 0
}

export async function remainsOf(site: Site): Promise<Remains> {
  const { pool } = site.place
  const S = site.schema
  const rows = async <Row extends object>(sql: string): Promise<Row[]> =>
    (await pool.query<Row>(sql)).rows
  const bodies = (found: readonly { body: Uint8Array }[]): Part[] =>
    found.map(({ body }) => parse(body))
  const students = await rows<{ number: number }>(
    `select number from ${S}.students order by pg_xact_commit_timestamp(xmin)`,
  )
  const effects = await rows<Part & { message: string }>(
    `select number, part, message from ${S}.effects order by place`,
  )
  const inbox = await rows<{ id: string }>(
    `select message_id as id from ${S}.inbox where consumer = '${site.queue}'`,
  )
  const takes = await rows<Remains['takes'][number]>(
    `select id, owner, former::text, token::text from ${S}.takes order by place`,
  )
  const dead = await rows<{ body: Uint8Array }>(`select body from ${S}.dead`)
  const open = await rows<{ text: string }>(
    `select format('outbox %s of %s, token %s', position, type, token) as text from ${S}.outbox`,
  )
  const broker = await (site.straight ? straightRemains(site) : brokerRemains(site))
  return {
    students: students.map(({ number }) => number),
    effects,
    inbox: inbox.map(({ id }) => id),
    takes,
    deadOutgoing: bodies(dead),
    ...broker,
    left: [...open.map(({ text }) => text), ...broker.left],
  }
}

type FromBroker = Pick<Remains, 'tap' | 'deadIncoming' | 'nowhere' | 'left'>

async function straightRemains({ place, schema: S, queue }: Site): Promise<FromBroker> {
  const { rows } = await place.pool.query<{
    name: string
    id: string
    type: string
    body: Uint8Array
    token: string | null
  }>(
    `select q.name, m.id, m.type, m.body, m.token::text from ${S}.queue_message m join ${S}.queue q on q.id = m.queue order by m.position`,
  )
  const dead = await place.pool.query<{ body: Uint8Array }>(`select body from ${S}.queue_dead`)
  const log = rows.filter(({ name }) => name === 'log')
  return {
    tap: log.map(({ id, type, body }) => ({ id, topic: type, ...parse(body) })),
    nowhere: rows
      .filter(({ name }) => name === `${queue}.${NOWHERE}`)
      .map(({ body }) => parse(body)),
    deadIncoming: dead.rows.map(({ body }) => parse(body)),
    left: rows
      .filter(({ name, token }) => name === queue || token !== null)
      .map(({ name, id }) => `message ${id} in ${name}`),
  }
}

async function brokerRemains(site: Site): Promise<FromBroker> {
  return await site.place.plainly(async (channel) => {
    const tap = await everything(channel, tapOf(site))
    const dead = await everything(channel, `${site.queue}.dead`)
    await channel.assertQueue(nowhereOf(site), { durable: true })
    const nowhere = await everything(channel, nowhereOf(site))
    const left = [
      ...(await everything(channel, site.queue)),
      ...(await everything(channel, retryOf(site))),
    ]
    return {
      tap: tap.map(
        (message): Copy => ({
          id: String(message.properties.messageId),
          topic: message.fields.routingKey,
          ...parse(message.content),
        }),
      ),
      nowhere: nowhere.map(({ content }) => parse(content)),
      deadIncoming: dead.map(({ content }) => parse(content)),
      left: left.map(
        ({ properties, fields }) => `message ${properties.messageId} in ${fields.routingKey}`,
      ),
    }
  })
}

/** Nobody else reads it by now, so that an empty answer is the end. */
async function everything(channel: Channel, queue: string): Promise<GetMessage[]> {
  const found: GetMessage[] = []
  for (;;) {
    const message = await channel.get(queue, { noAck: true })
    if (message === false) return found
    found.push(message)
  }
}

export async function cleanUp(site: Site): Promise<void> {
  await site.place.pool.query(`drop schema if exists ${site.schema} cascade`)
  if (site.straight) return
  await site.place.plainly(async (channel) => {
    for (const queue of [
      tapOf(site),
      site.queue,
      `${site.queue}.dead`,
      retryOf(site),
      nowhereOf(site),
    ])
      await channel.deleteQueue(queue)
    await channel.deleteExchange(site.exchange)
  })
}
