/** Bugs of the transports over Redis and Kafka that the harness must see. */
import type { Mutant } from './mutants.ts'

export const brokerMutants: readonly Mutant[] = [
  {
    name: 'RD1',
    says: 'Redis: what the server has refused to store counts as stored',
    changes: [
      {
        file: 'transports/redis/publish.ts',
        from: 'if (!sent || isReply(error) || wasNotSent(error))',
        to: 'if (sent && isReply(error)) return messages.map(() => confirmed)\n    if (!sent || wasNotSent(error))',
      },
    ],
    under: { store: 'redis', nemeses: ['memory-full'], seconds: 8 },
  },
  {
    name: 'RD2',
    says: 'Redis: a message that was handed out never comes again by itself',
    changes: [
      {
        file: 'transports/redis/consume-scripts.ts',
        from: "if redis.call('ZADD', due, 'NX', time + holdMs, id) == 1 then",
        to: 'if true then',
      },
    ],
    under: { store: 'redis', nemeses: ['kill', 'hang'], seconds: 20 },
  },
  {
    name: 'RD3',
    says: 'Redis: a publish without an answer counts as not stored',
    changes: [
      {
        file: 'transports/redis/publish.ts',
        from: "throw new MersalError('MERSAL_UNKNOWN_OUTCOME', text, { cause: error })",
        to: 'return messages.map(() => unavailable(text))',
      },
    ],
    under: { store: 'redis', nemeses: ['broker-pause'], seconds: 10 },
  },
  {
    name: 'KF1',
    says: 'Kafka: a publish without an answer counts as stored',
    changes: [
      {
        file: 'transports/kafka/publish/failure.ts',
        from: ": { kind: 'unknown', error }",
        to: ": { kind: 'duplicate' }",
      },
    ],
    under: { store: 'kafka', nemeses: ['broker-crash', 'reset'], seconds: 20 },
  },
  {
    name: 'KF2',
    says: 'Kafka: what waits for a retry in its place counts as handled',
    changes: [
      {
        file: 'transports/kafka/consume/settle.ts',
        from: "      entry.due = due\n      return 'open'\n",
        to: "      entry.due = due\n      return 'done'\n",
      },
    ],
    under: { store: 'kafka', nemeses: [], seconds: 6 },
  },
]
