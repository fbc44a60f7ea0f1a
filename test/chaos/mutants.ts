/**
 * Bugs that the harness must see: each is one change of the source, and where somebody has to
 * notice.
 */

import { brokerMutants } from './broker-mutants.ts'
import { featureMutants } from './feature-mutants.ts'
import type { StoreKind } from './plan.ts'
import type { Change } from './planted.ts'

export interface Mutant {
  /** As in the list of well-known bugs of outboxes. */
  readonly name: string
  readonly says: string
  /** Where the well-known bug has no place in this protocol: what stands for it. */
  readonly instead?: string
  readonly changes: readonly Change[]
  /** Faults of the run, or the file of the contract suite that has to fail. */
  readonly under:
    | {
        readonly store: StoreKind
        readonly nemeses: readonly string[]
        readonly seconds: number
        /** With the second workload. */
        readonly features?: true
      }
    | { readonly suite: string }
}

const statements = 'stores/postgres/statements/statements.ts'
const claimStatement = 'stores/postgres/statements/claim-statement.ts'
const quietly = (seconds: number) => ({ store: 'postgres', nemeses: [], seconds }) as const

export const mutants: readonly Mutant[] = [
  {
    name: 'X1',
    says: 'a row is recorded as sent before its confirm',
    changes: [
      {
        file: 'outbox/publish/handing-over.ts',
        from: 'if (answer === undefined) this.#ports.onAnswer(batch, run, index, broken(fault))',
        to: "if (answer !== undefined) this.#ports.onAnswer(batch, run, index, { kind: 'confirmed' })\n      if (answer === undefined) this.#ports.onAnswer(batch, run, index, broken(fault))",
      },
    ],
    under: { store: 'sqlite', nemeses: ['kill'], seconds: 3 },
  },
  {
    name: 'X2',
    says: "messages are published without 'mandatory'",
    changes: [
      {
        file: 'transports/rabbitmq/publish/frames.ts',
        from: 'frame[at] = MANDATORY',
        to: 'frame[at] = 0',
      },
    ],
    under: { suite: 'test/contract/rabbitmq.test.ts' },
  },
  {
    name: 'X3',
    says: 'a relay never looks behind the last position that it has seen',
    instead:
      'no cursor decides what is taken; the position where a scan begins is the nearest thing, and here full scans never come',
    changes: [
      {
        file: 'outbox/claim/scan.ts',
        from: 'if (!this.#tail.known || this.#forced || proves || now >= this.#sweepFrom) return this.#sweep()',
        to: 'if (!this.#tail.known) return this.#sweep()',
      },
      {
        file: 'outbox/claim/scan.ts',
        from: 'if (!this.#frontWanted || now < this.#frontFrom) return undefined',
        to: 'return undefined',
      },
    ],
    under: quietly(6),
  },
  {
    name: 'X4',
    says: 'a delivery is acknowledged before it is handled',
    changes: [
      {
        file: 'transports/rabbitmq/consume/consumer.ts',
        from: 'await settler.settle(hold, disposition)',
        to: '',
      },
      {
        file: 'transports/rabbitmq/consume/consumer.ts',
        from: 'const disposition: Disposition =\n      known.decided',
        to: "await settler.settle(hold, { kind: 'ack' })\n    const disposition: Disposition =\n      known.decided",
      },
    ],
    under: quietly(6),
  },
  {
    name: 'X5',
    says: 'the inbox has no unique key',
    changes: [
      {
        file: 'stores/postgres/steps/tables.ts',
        from: ',\n  primary key (consumer, message_id)\n);',
        to: '\n);',
      },
    ],
    under: { store: 'postgres', nemeses: ['hang', 'reset'], seconds: 15 },
  },
  {
    name: 'X6',
    says: 'settling is not fenced by the token',
    changes: [
      {
        file: statements,
        from: 'where position = any ($1::bigint[]) and token = $2::uuid`,\n    sentKept',
        to: 'where position = any ($1::bigint[]) and $2::uuid is not null`,\n    sentKept',
      },
    ],
    under: { store: 'postgres', nemeses: ['stolen'], seconds: 10 },
  },
  {
    name: 'X7',
    says: 'SKIP LOCKED without the run rule: a row is claimed although an earlier one of its key is open',
    changes: [
      { file: claimStatement, from: '(g.gap is null or f.position < g.gap) and ', to: '' },
      {
        file: claimStatement,
        from: "and (o.key is null or (h.visible_at <= statement_timestamp()${except ? ' and not h.closed' : ''}))",
        to: '',
      },
    ],
    under: { store: 'postgres', nemeses: ['kill'], seconds: 8 },
  },
  {
    name: 'X8',
    says: 'a claim is not durable, so that a relay publishes what a crash of the database takes back',
    instead:
      'a relay never publishes what it has only selected; here the claim before the publish is not flushed',
    changes: [
      {
        file: 'sql/postgres/pool/pool.ts',
        from: "synchronous_commit = ${durable ? 'on' : 'off'}",
        to: "synchronous_commit = ${durable ? 'off' : 'off'}",
      },
      {
        file: 'sql/postgres/pool/pool.ts',
        from: 'set synchronous_commit = on;',
        to: 'set synchronous_commit = off;',
      },
      {
        file: 'sql/postgres/pool/pool.ts',
        from: "current_setting('synchronous_commit') = 'on' and",
        to: '',
      },
    ],
    under: { store: 'postgres', nemeses: ['async-crash'], seconds: 25 },
  },
  {
    name: 'X9',
    says: 'inbox records are pruned before the last redelivery',
    changes: [
      {
        file: 'outbox/janitor.ts',
        from: 'olderThanMs: retentionMs + longerMs',
        to: 'olderThanMs: 0',
      },
      {
        file: 'outbox/janitor.ts',
        from: 'default: 60_000,\n    min: 100',
        to: 'default: 200,\n    min: 100',
      },
    ],
    under: { store: 'sqlite', nemeses: ['hang', 'crash'], seconds: 20 },
  },
  {
    name: 'X10',
    says: 'cleaning up goes by age: settling removes older rows as well',
    instead: 'nothing is removed by age but what was kept; settling is what removes open rows',
    changes: [
      {
        file: statements,
        from: 'where position = any ($1::bigint[]) and token = $2::uuid`,\n    sentKept',
        to: 'where position <= any ($1::bigint[]) and $2::uuid is not null`,\n    sentKept',
      },
    ],
    under: quietly(6),
  },
  {
    name: 'X11',
    says: 'a relay relies on hints and never looks by itself',
    instead:
      'there is no scan after LISTEN to forget that the poll would not make up for, so the poll goes as well',
    changes: [
      {
        file: 'outbox/claim/looks.ts',
        from: 'return Math.min(lookedAt + pollIntervalMs, scan.nextAt, later.next)',
        to: 'return Infinity',
      },
    ],
    under: quietly(3),
  },
  {
    name: 'X12',
    says: 'a message counts as handled before its handler has committed',
    instead:
      'there is no log position to acknowledge on receipt; the inbox row is the nearest thing, here in a transaction of its own',
    changes: [
      {
        file: 'stores/postgres/tracker.ts',
        from: 'await executor.query(text, values, { often: true })',
        to: "await own.run('tracking', text, values)",
      },
    ],
    under: quietly(6),
  },
  {
    name: 'X13',
    says: 'COMMIT answered with ROLLBACK counts as committed',
    changes: [
      {
        file: 'sql/postgres/unit/transaction.ts',
        from: "if (command === 'COMMIT') return",
        to: "if (command !== 'never') return",
      },
    ],
    under: { suite: 'test/stores/postgres/commits.test.ts' },
  },
  {
    name: 'X14',
    says: 'a transaction whose commit was not answered is run again',
    changes: [
      {
        file: 'sql/postgres/unit/client-session.ts',
        from: 'if (repeats >= settings.retrySerialization || !isConflict(error)) throw error',
        to: "if (repeats > 3 || !isMersalError(error, 'MERSAL_COMMIT_UNKNOWN')) throw error",
      },
    ],
    under: { store: 'postgres', nemeses: ['reset', 'terminate', 'black-hole'], seconds: 40 },
  },
  {
    name: 'X15',
    says: 'the wall clock of the relay says how long a claim lasts',
    changes: [
      {
        file: claimStatement,
        from: "set visible_at = statement_timestamp() + $2::float8 * interval '1 millisecond',",
        to: 'set visible_at = to_timestamp($2::float8 / 1000),',
      },
      {
        file: 'stores/postgres/claim.ts',
        from: 'limit,\n    claimMs,\n    tokenUuid(token),',
        to: 'limit,\n    Date.now() + claimMs,\n    tokenUuid(token),',
      },
    ],
    under: { store: 'postgres', nemeses: ['skew'], seconds: 25 },
  },
  {
    name: 'X16',
    says: 'claims are not given back on SIGTERM',
    changes: [
      {
        file: 'outbox/relay.ts',
        from: "if (life.state === 'running') await settleRest(environment.clock, parts, life, graceMs)",
        to: "if (life.state === 'running') life.stopping.abort()",
      },
    ],
    under: { store: 'sqlite', nemeses: ['term'], seconds: 25 },
  },
  {
    name: 'X17',
    says: 'dead letters hold the body as text that was made anew',
    changes: [
      {
        file: statements,
        from: "select g.position, ${columns('g')}, g.added_at, g.last_error",
        to: "select g.position, ${columns('g').replace('g.body', `convert_to(encode(g.body, 'escape'), 'UTF8')`)}, g.added_at, g.last_error",
      },
    ],
    under: { suite: 'test/contract/postgres.test.ts' },
  },
  {
    name: 'X18',
    says: 'a nack counts as a confirm',
    changes: [
      {
        file: 'transports/rabbitmq/publish/confirms.ts',
        from: "channel.on('nack', ({ deliveryTag, multiple }) => this.#answer(deliveryTag, multiple, false))",
        to: "channel.on('nack', ({ deliveryTag, multiple }) => this.#answer(deliveryTag, multiple, true))",
      },
    ],
    under: { store: 'postgres', nemeses: ['nack'], seconds: 6 },
  },
  {
    name: 'X19',
    says: 'a publish without an answer is a failure, and goes out again under a new id',
    instead: 'the id is in the row, so giving the row back changes it there',
    changes: [
      {
        file: statements,
        from: 'token = null, attempts = greatest(o.attempts - 1, 0)',
        to: 'token = null, id = gen_random_uuid(), attempts = greatest(o.attempts - 1, 0)',
      },
    ],
    under: { store: 'postgres', nemeses: ['broker-pause'], seconds: 10 },
  },
  {
    name: 'X20',
    says: 'attempts are not counted in the row',
    changes: [
      {
        file: claimStatement,
        from: 'attempts = least(greatest(o.attempts, 0), 1000000) + 1',
        to: 'attempts = 1',
      },
    ],
    under: { suite: 'test/contract/postgres.test.ts' },
  },
  {
    name: 'M2',
    says: 'MariaDB: a claim takes what another one still holds',
    changes: [
      {
        file: 'stores/mysql/claim.ts',
        from: "'o.visible_at <= utc_timestamp(6)'",
        to: "'o.died_at is null'",
      },
    ],
    under: { store: 'mysql', nemeses: [], seconds: 6 },
  },
  {
    name: 'M6',
    says: 'MariaDB: settling is not fenced by the token',
    changes: [
      {
        file: 'stores/mysql/statements/statements.ts',
        from: "const owned = 'o.position in (?) and o.token = ?'",
        to: "const owned = 'o.position in (?) and ? is not null'",
      },
    ],
    under: { store: 'mysql', nemeses: ['stolen'], seconds: 10 },
  },
  {
    name: 'M7',
    says: 'MariaDB: a row is claimed although an earlier one of its key is open',
    changes: [
      {
        file: 'stores/mysql/claim.ts',
        from: 'return gap === undefined || position < gap',
        to: 'return gap === undefined || position > 0n',
      },
      {
        file: 'stores/mysql/claim.ts',
        from: "`(o.partition_key is null or ${head(T, 'h.visible_at')} <= utc_timestamp(6))`,",
        to: "'o.died_at is null',",
      },
    ],
    under: { store: 'mysql', nemeses: ['kill'], seconds: 8 },
  },
  ...brokerMutants,
  ...featureMutants,
]
