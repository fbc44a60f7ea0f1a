import { growth } from './churn/growth.ts'
import { churn } from './churn/section.ts'
import { claim } from './claim/section.ts'
import { documents } from './documents/section.ts'
import { drain } from './drain/section.ts'
import type { Effort } from './effort.ts'
import { idle } from './idle/section.ts'
import { kafka } from './kafka/section.ts'
import { latency } from './latency/section.ts'
import { log } from './log/section.ts'
import { mysql } from './mysql/section.ts'
import { nats } from './nats/section.ts'
import { queue } from './queue/section.ts'
import { batches, receive } from './receive/section.ts'
import { redis } from './redis/section.ts'
import { relay } from './relay/section.ts'
import type { Table } from './report.ts'
import { scale } from './scale/section.ts'
import { sqlite } from './sqlite/section.ts'
import { sustained } from './sustained/section.ts'
import { write } from './write/section.ts'

type Section = (effort: Effort) => Promise<Table[]>

const all = {
  write,
  claim,
  drain,
  relay,
  latency,
  sustained,
  churn,
  receive,
  batches,
  queue,
  nats,
  redis,
  documents,
  kafka,
  scale,
  idle,
  sqlite,
  mysql,
  growth,
  log,
} satisfies Readonly<Record<string, Section>>

/** In the order in which a whole run takes them. */
export const sections: Readonly<Record<string, Section>> = all

/**
 * Only when it is named: it takes longer than all others together, or needs Java and Maven for one
 * of its candidates.
 */
export const occasional: readonly string[] = ['growth', 'log']

/** Its broker takes longer to start than a tiny run of the others, so only when it is named. */
export const apart: readonly string[] = ['kafka']

/** What a reader of docs/performance.md has to know of each. */
export const introductions: Readonly<Record<keyof typeof all, string>> = {
  write:
    'What an outbox costs the writer: the same business transaction, with and without messages, closed loop.',
  claim:
    'What one claim costs the server, whatever else the tables hold; medians of EXPLAIN ANALYZE.',
  drain:
    'A backlog of rows, and a transport that confirms at once: only claiming and settling count.',
  relay:
    'A backlog of rows, published with confirms to a queue without a consumer. *Bare publishing* has no database: it is what the same client can do, with 1000 messages unconfirmed.',
  latency:
    'From the moment at which the producer knows of the commit to the callback of the consumer, at a steady rate.',
  sustained:
    'Producers in a closed loop, relay, broker, database and consumer all on the same machine.',
  churn:
    'What very many messages leave behind in the table, and what they cost the write-ahead log, beside a plain table with default settings. Writers insert in SQL and pause while 20,000 messages are open.',
  receive:
    'The consumer: one transaction per message, ten at a time. Mersal writes an inbox row besides the business row, and so handles redeliveries once.',
  batches:
    'Handlers that let several messages share one transaction (`batch`), beside the candidates of `receive`: each message has its inbox row and its business row all the same.',
  queue:
    'The queue in PostgreSQL: a message straight into it, in the transaction of its sender, against outbox and relay.',
  nats: 'NATS JetStream: the same as in `relay` and `receive`, as far as a client alone and a consumer go. The hand-written publisher has 500 messages without an ack, as Mersal has here.',
  redis:
    'Redis Streams, where what is confirmed is on the disk: the same as in `nats`. The hand-written publisher sends 500 messages in one pipeline.',
  documents:
    'Aggregates in Redis: 1,000 documents that are changed in turns, and a message for each change. The hand-written reader holds nothing, so there may be only one, and it has no retries and no dead letters.',
  kafka:
    'One broker in KRaft mode: the same as in `nats`, with keys. Both publishers have one call of 500 messages without an answer. The hand-written consumers handle ten at a time, keep no order of keys in doing so, and commit once in a hundred messages.',
  scale: 'More relays, more rows, more or fewer keys.',
  idle: 'One relay process for many databases in which nothing happens: what looking costs.',
  sqlite: 'The whole way in one process, with files in place of servers.',
  mysql:
    'On MariaDB, each beside the same by hand: the writer, a backlog that is confirmed at once or published, and a consumer with an inbox. The hand-written relay locks rows, publishes them and deletes them in one transaction, without keys, retries or dead letters.',
  growth:
    'The writers and the relay of `churn` for ten million messages. Not part of a whole run: `npm run bench -- growth`.',
  log: 'A relay that reads the log of PostgreSQL, beside the claiming one, the express lane, and Debezium with its outbox event router on the same table, whose rows nobody deletes. Not part of a whole run: `npm run bench -- log`.',
}
