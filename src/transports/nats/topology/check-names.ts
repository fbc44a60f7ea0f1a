import { MersalError } from '../../../core/errors/errors.ts'
import { isQueueName, isName, nameRule, queueNameRule } from '../../../core/messages/validation.ts'

export function checkQueueName(queue: unknown): void {
  if (!isQueueName(queue))
    throw new MersalError('MERSAL_INVALID_OPTIONS', `queue: expected ${queueNameRule}`, {
      details: { field: 'queue' },
    })
}

export function checkTopic(topic: unknown): void {
  if (!isName(topic))
    throw new MersalError('MERSAL_INVALID_OPTIONS', `topic: expected ${nameRule}`, {
      details: { field: 'topic' },
    })
}
