import { connect } from 'amqplib'
import { createCheck, upTo } from '../check.ts'
import { evenKeys, noKeys, numberOf } from '../messages.ts'
import { BODIES_IN_ONE } from '../rabbit-queue.ts'
import type { RelayJob, Sink } from './job.ts'

export async function openSink(job: RelayJob): Promise<Sink> {
  return job.rabbit === undefined ? countingSink(job) : await rabbitSink(job.rabbit, job)
}

interface Arrival {
  readonly all: Promise<void>
  readonly moved: number
  readonly came: (count: number) => void
}

function arrival(expected: number | undefined): Arrival {
  const all = Promise.withResolvers<void>()
  let confirmed = 0
  return {
    all: all.promise,
    get moved() {
      return confirmed
    },
    came(count) {
      confirmed += count
      if (confirmed === expected) all.resolve()
    },
  }
}

/** Confirms at once. */
function countingSink({ keys, expected = 0, kind }: RelayJob): Sink {
  const check = createCheck(keys === 0 ? noKeys : evenKeys(keys))
  const arrived = arrival(expected)
  return {
    all: arrived.all,
    get moved() {
      return arrived.moved
    },
    async publish(bodies) {
      for (const body of bodies) check.saw(numberOf(body))
      arrived.came(bodies.length)
    },
    faults: () => check.faults(upTo(expected), { ordered: promisesOrder(kind) }),
    async [Symbol.asyncDispose]() {},
  }
}

/** The peers hand out jobs in no promised order. */
export function promisesOrder(kind: RelayJob['kind']): boolean {
  return !['pg-boss', 'graphile-worker', 'pg-transactional-outbox'].includes(kind)
}

/** Persistent, with confirms, with amqplib. */
async function rabbitSink(
  { url, queue }: NonNullable<RelayJob['rabbit']>,
  { expected, kind }: RelayJob,
): Promise<Sink> {
  const model = await connect(url, { noDelay: true })
  const channel = await model.createConfirmChannel()
  const arrived = arrival(expected)
  const inOne = kind === 'floor overlap, tens' ? 10 : 1
  const properties = {
    persistent: true,
    mandatory: true,
    ...(inOne === 1 ? {} : { contentType: BODIES_IN_ONE }),
  }
  return {
    all: arrived.all,
    get moved() {
      return arrived.moved
    },
    publish(bodies) {
      if (bodies.length === 0) return Promise.resolve()
      return new Promise((resolve, reject) => {
        let open = bodies.length
        for (let first = 0; first < bodies.length; first += inOne) {
          const part = bodies.slice(first, first + inOne)
          const confirmed = (error: unknown): void => {
            if (error !== null && error !== undefined) return reject(error)
            arrived.came(part.length)
            open -= part.length
            if (open === 0) resolve()
          }
          channel.publish(
            '',
            queue,
            inOne === 1 ? (part[0] as Buffer) : Buffer.concat(part),
            properties,
            confirmed,
          )
        }
      })
    },
    faults: () => undefined,
    async [Symbol.asyncDispose]() {
      await model.close()
    },
  }
}
