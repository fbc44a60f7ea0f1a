import { createConnection } from 'mysql2/promise'
import type { ForeignRow } from '../places/sqlite.ts'
import { headers, topics } from '../plan.ts'
import { digestOf, NOTE } from '../producer.ts'
import type { AnyPlace } from './nemesis.ts'

/**
 * Writes business rows and outbox rows in one transaction, as a program in another language does.
 */
export async function write(place: AnyPlace, rows: readonly ForeignRow[]): Promise<void> {
  const sent = JSON.stringify({ [headers.note]: NOTE })
  if (place.kind === 'sqlite') return place.write(rows, sent)
  if (place.kind === 'mysql') return writeToMysql(place.server.url, rows, sent)
  for (const { id, key, text, padding = 0, delayMs = 0 } of rows) {
    await place.query(
      `with business as (insert into chaos.business (id, topic, key, digest) values ($1, $2, $3, $4))
       insert into chaos.outbox (id, key, type, transport, kind, name, headers, body, visible_at)
       values ($1, $3, $2, 'default', 'topic', $2, $5, convert_to($6, 'UTF8') || convert_to(repeat(' ', $7), 'UTF8'),
         clock_timestamp() + make_interval(secs => $8))`,
      [
        id,
        topics.billed,
        key ?? null,
        digestOf(text),
        sent,
        JSON.stringify({ text }),
        padding,
        delayMs / 1000,
      ],
    )
  }
}

async function writeToMysql(url: string, rows: readonly ForeignRow[], sent: string): Promise<void> {
  const connection = await createConnection({ uri: `${url}/chaos` })
  try {
    for (const { id, key, text, delayMs = 0, damaged = false } of rows) {
      const body = JSON.stringify({ text })
      await connection.beginTransaction()
      await connection.query(
        'insert into business (id, topic, partition_key, digest) values (?, ?, ?, ?)',
        [id, topics.billed, key ?? null, digestOf(text)],
      )
      await connection.query(
        `insert into mersal_outbox (id, partition_key, type, transport, kind, name, headers, body, visible_at, added_at)
         values (?, ?, ?, 'default', 'topic', ?, ?, ?, utc_timestamp(6) + interval ? microsecond, utc_timestamp(6))`,
        [
          id,
          key ?? null,
          topics.billed,
          topics.billed,
          damaged ? 'no JSON' : sent,
          body,
          Math.round(delayMs * 1000),
        ],
      )
      await connection.commit()
    }
  } finally {
    connection.destroy()
  }
}
