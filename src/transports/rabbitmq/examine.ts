import type { Channel } from 'amqplib'
import type { Finding } from '../../core/operations.ts'
import type { Describe } from '../shared/describe.ts'
import { replyCode } from './connection/address.ts'
import { type RabbitLink, withChannel } from './connection/client.ts'
import type { RabbitSettings } from './options.ts'
import { deadQueueOf } from './topology/topology.ts'

const OLDEST = [3, 10] as const

export interface ExaminePorts {
  readonly link: RabbitLink
  readonly settings: RabbitSettings
  readonly describe: Describe
}

/** Looks at the broker without making anything. Throws when it cannot be reached. */
export async function examine(
  { link, settings, describe }: ExaminePorts,
  queues: readonly string[],
): Promise<readonly Finding[]> {
  const { connection } = await link.connection()
  const { serverProperties } = connection.connection as {
    readonly serverProperties?: { readonly version?: unknown }
  }
  const told = serverProperties?.version
  const findings = [version(typeof told === 'string' ? told : '?'), alarm(link)]
  findings.push(
    await passive(`exchange '${settings.eventsExchange}'`, (channel) =>
      channel.checkExchange(settings.eventsExchange),
    ),
  )
  for (const queue of queues.flatMap((name) => [name, deadQueueOf(name)])) {
    findings.push(await passive(`queue '${queue}'`, (channel) => channel.checkQueue(queue)))
  }
  return findings

  async function passive(
    subject: string,
    check: (channel: Channel) => Promise<object>,
  ): Promise<Finding> {
    try {
      return { level: 'ok', subject, text: counted(await withChannel(link, check)) }
    } catch (error) {
      if (replyCode(error) === 404) return missing(subject, settings.topology)
      const remedy =
        replyCode(error) === 403
          ? 'give the user of the broker the right to read and configure it'
          : 'look at the log of the broker'
      return { level: 'fault', subject, text: describe(error), remedy }
    }
  }
}

function version(text: string): Finding {
  const subject = 'rabbitmq version'
  const [major = 0, minor = 0] = text.split('.').map(Number)
  if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1]))
    return { level: 'ok', subject, text }
  return {
    level: 'fault',
    subject,
    text: `${text} is older than 3.10`,
    remedy: 'upgrade the broker',
  }
}

function alarm(link: RabbitLink): Finding {
  const subject = 'rabbitmq alarms'
  if (!link.blocked) return { level: 'ok', subject, text: 'none is known to this connection' }
  return {
    level: 'fault',
    subject,
    text: 'the broker has an alarm and takes no messages',
    remedy: 'free memory or disk space on the node',
  }
}

function counted(answer: object): string {
  const { messageCount, consumerCount } = answer as {
    readonly messageCount?: number
    readonly consumerCount?: number
  }
  return messageCount === undefined
    ? 'exists'
    : `${messageCount} messages ready, ${consumerCount ?? 0} consumers`
}

function missing(subject: string, topology: RabbitSettings['topology']): Finding {
  if (topology === 'check')
    return {
      level: 'fault',
      subject,
      text: 'does not exist',
      remedy: 'declare it, or use topology: declare',
    }
  return {
    level: 'warning',
    subject,
    text: 'does not exist yet',
    remedy: 'start the app that owns it once; until then what is sent there is unroutable',
  }
}
