import type { ConsumerConfig, ConsumerInfo } from '@nats-io/jetstream'
import { apiCodeOf, apiCodes } from '../connection/faults.ts'
import type { Server } from '../connection/client.ts'

/** Asks JetStream, and says what was being done when that fails. */
export interface Asking {
  ask<Result>(doing: string, task: (server: Server) => Promise<Result>): Promise<Result>
}

type Listed = ConsumerInfo | null

/** Undefined if another consumer has what this one would read. */
export function addConsumer(
  server: Asking,
  stream: string,
  config: Partial<ConsumerConfig>,
): Promise<ConsumerInfo | undefined> {
  return server.ask(`making a consumer of '${stream}'`, async ({ manager }) => {
    try {
      return await manager.consumers.add(stream, config)
    } catch (error) {
      const code = apiCodeOf(error)
      const { consumerBesideOthers, consumerBesideThis } = apiCodes
      if (code === consumerBesideOthers || code === consumerBesideThis) return undefined
      throw error
    }
  })
}

/** None if there is no such stream. */
export function consumersOf(server: Asking, stream: string): Promise<readonly ConsumerInfo[]> {
  return server.ask(`listing the consumers of '${stream}'`, async ({ manager }) => {
    const found: ConsumerInfo[] = []
    try {
      // The server lists one that is being deleted as null.
      for await (const each of manager.consumers.list(stream) as AsyncIterable<Listed>)
        if (each !== null) found.push(each)
    } catch (error) {
      if (apiCodeOf(error) !== apiCodes.streamNotFound) throw error
    }
    return found
  })
}

/** It is gone afterwards, whoever removed it. */
export function removeConsumer(server: Asking, stream: string, name: string): Promise<void> {
  return server.ask(`removing a consumer of '${stream}'`, async ({ manager }) => {
    try {
      await manager.consumers.delete(stream, name)
    } catch (error) {
      const code = apiCodeOf(error)
      if (code !== apiCodes.consumerNotFound && code !== apiCodes.streamNotFound) throw error
    }
  })
}
