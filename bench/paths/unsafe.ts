import { connect } from 'amqplib'
import { Pool } from 'pg'
import { bodyOf } from '../messages.ts'
import { commitRow } from './business.ts'
import type { OpenPath } from './path.ts'

const persistent = { persistent: true }

/** No database at all: a persistent message, with a confirm. */
export const barePublish: OpenPath = async ({ rabbit, queue }) => {
  const model = await connect(rabbit.url, { noDelay: true })
  const channel = await model.createConfirmChannel()
  return {
    async send(number) {
      const body = bodyOf(number)
      const started = performance.now()
      channel.publish('', queue, body, persistent)
      return started
    },
    leftOver: async () => [],
    async [Symbol.asyncDispose]() {
      await channel.waitForConfirms()
      await model.close()
    },
  }
}

/**
 * Commit, then publish and hope: a crash between the two, or a broker that is away, loses the
 * message.
 */
export const commitThenPublish: OpenPath = async ({ postgres, rabbit, queue, connections }) => {
  const pool = new Pool({ connectionString: postgres.url, max: connections })
  const model = await connect(rabbit.url, { noDelay: true })
  const channel = await model.createChannel()
  return {
    async send(number) {
      await commitRow(pool)
      const committed = performance.now()
      channel.publish('', queue, bodyOf(number), persistent)
      return committed
    },
    leftOver: async () => [],
    async [Symbol.asyncDispose]() {
      await model.close()
      await pool.end()
    },
  }
}
