import type { ChannelModel } from 'amqplib'
import { replyCode } from '../connection/address.ts'
import { answered, closeQuietly } from '../connection/client.ts'

/** Reply code of AMQP: the queue belongs to another connection. */
const LOCKED = 405

/**
 * A lock is an exclusive queue: the broker gives it to one connection, and removes it when that
 * connection ends. True if it belongs to this connection now.
 */
export async function takeLock(
  model: ChannelModel,
  name: string,
  timeoutMs: number,
): Promise<boolean> {
  const channel = await answered(timeoutMs, model.createChannel())
  // The failed call carries the same error.
  channel.on('error', () => {})
  const options = {
    exclusive: true,
    durable: false,
    arguments: { 'x-queue-type': 'classic' },
  }
  try {
    await answered(timeoutMs, channel.assertQueue(name, options))
    return true
  } catch (error) {
    if (replyCode(error) === LOCKED) return false
    throw error
  } finally {
    await closeQuietly(channel)
  }
}

export async function releaseLock(
  model: ChannelModel,
  name: string,
  timeoutMs: number,
): Promise<void> {
  const channel = await answered(timeoutMs, model.createChannel())
  channel.on('error', () => {})
  try {
    await answered(timeoutMs, channel.deleteQueue(name))
  } finally {
    await closeQuietly(channel)
  }
}
