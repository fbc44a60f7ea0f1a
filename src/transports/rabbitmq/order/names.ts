import type { Message } from 'amqplib'
import { invalidOption } from '../../../core/options.ts'
import { headerNames } from '../../../core/messages/message.ts'
import { bucketOf } from '../../shared/order/key-bucket.ts'
import { headerTable } from '../publish/envelope.ts'
import { nameProblem } from '../topology/topology.ts'

export const MOST_PARTITIONS = 256

/** Where the messages of a part of the keys wait. */
export function partitionQueueOf(queue: string, partition: number): string {
  return `${queue}.partition.${partition}`
}

/** Where the messages of a partition wait that hold their key: those to be tried again. */
export function retryQueueOfPartition(queue: string, partition: number): string {
  return `${partitionQueueOf(queue, partition)}.retry`
}

/** Exclusive to the connection of the process that reads the partition. */
export function lockOfPartition(queue: string, partition: number): string {
  return `${partitionQueueOf(queue, partition)}.lock`
}

/** Exclusive to the connection of the process that moves messages into the partitions. */
export function lockOfSplitter(queue: string): string {
  return `${queue}.splitter.lock`
}

/** Every process of the app is a consumer of this queue, which stays empty. */
export function membersQueueOf(queue: string): string {
  return `${queue}.members`
}

/** Throws unless this can name a queue of ours together with those of its partitions. */
export function checkOrderedName(queue: string): void {
  const problem = nameProblem(retryQueueOfPartition(queue, MOST_PARTITIONS))
  if (problem !== undefined) throw invalidOption('queue', problem)
}

/** The key of a message, as the header says. */
export function keyOf(message: Pick<Message, 'properties'>): string | undefined {
  const key = headerTable(message)[headerNames.partitionKey]
  return typeof key === 'string' && key !== '' ? key : undefined
}

/** Messages without a key are spread by their ids. */
export function partitionFor(message: Pick<Message, 'properties'>, partitions: number): number {
  return bucketOf(keyOf(message) ?? String(message.properties.messageId), partitions)
}
