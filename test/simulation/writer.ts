import type { ClaimedMessage } from '../../src/core/outbox.ts'
import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import type { Store } from '../../src/core/store.ts'
import type { Ledger, Record } from './ledger.ts'
import type { SimulatedLog } from './log/simulated-log.ts'
import { logToken } from '../../src/core/commit-log.ts'
import type { ExpressOffer } from '../../src/outbox/types.ts'
import type { Process } from './process.ts'
import type { Scheduler } from './scheduler.ts'

export interface WriterPorts<Tx> {
  readonly scheduler: Scheduler
  readonly ledger: Ledger
  readonly store: Pick<Store<Tx>, 'unitOfWork' | 'outbox'>
  /** The process that the writer lives in, at this moment. */
  readonly process: () => Process
  readonly plan: WriterPlan
  /** Writers leave publishing to whoever reads it. */
  readonly log?: SimulatedLog | undefined
}

export interface WriterPlan {
  readonly units: number
  readonly keys: number
  readonly destinations: number
  readonly rollback: number
  readonly lateCommit: number
  readonly commitUnknown: number
  readonly delayed: number
  readonly poison: number
  /** How many killers may still be written. */
  killers: number
}

class RolledBack extends Error {}

/**
 * Writes its units one after the other; some roll back, some commit late, some lose the answer of
 * the commit.
 */
export async function runWriter<Tx>(name: string, ports: WriterPorts<Tx>): Promise<void> {
  const { scheduler, plan } = ports
  for (let unit = 0; unit < plan.units; unit++) {
    await scheduler.sleep(scheduler.between(1, 250))
    await writeUnit(`${name}.${unit}`, ports)
  }
}

async function writeUnit<Tx>(
  name: string,
  { scheduler, ledger, store, process, plan, log }: WriterPorts<Tx>,
): Promise<void> {
  const here = process()
  const offer = log === undefined ? offerOf(here) : logOffer(scheduler, log)
  const records = makeRecords(name, scheduler, plan)
  const rowsOf: ClaimedMessage[] = []
  for (const record of records) ledger.records.set(record.id, record)
  try {
    await store.unitOfWork(async (tx) => {
      await scheduler.sleep(scheduler.between(1, 6))
      const messages = records.map((record) =>
        messageOf(record, scheduler.chance(plan.delayed) ? scheduler.between(10, 300) : undefined),
      )
      const writtenAt = scheduler.now
      const saved = await store.outbox.save(
        tx,
        messages,
        offer === undefined ? {} : { express: { token: offer.token, graceMs: offer.graceMs } },
      )
      await scheduler.sleep(scheduler.between(1, scheduler.chance(plan.lateCommit) ? 900 : 10))
      if (scheduler.chance(plan.rollback)) throw new RolledBack()
      saved.forEach(({ position, kind }, index) => {
        const record = records[index] as Record
        record.position = position
        record.committed = true
        if (kind === 'born-claimed')
          rowsOf.push({
            message: messages[index] as OutgoingMessage,
            position,
            attempt: 0,
            token: offer?.token ?? '',
          })
      })
      if (log !== undefined && offer !== undefined && rowsOf.length > 0) {
        for (const { message } of rowsOf) (ledger.records.get(message.id) as Record).logged = true
        const { graceMs } = offer
        log.committed({ rows: rowsOf, visibleAt: writtenAt + graceMs, graceMs })
        // The log may tell of it before others can see it.
        await scheduler.sleep(scheduler.between(0, scheduler.chance(0.2) ? 150 : 8))
      }
    })
  } catch (error) {
    if (!(error instanceof RolledBack)) throw error
    ledger.write(`rollback ${name}`)
    offer?.cancel()
    return
  }
  if (log !== undefined && rowsOf.length === records.length) return
  ledger.write(`commit ${records.map((record) => record.id).join(',')}, ${rowsOf.length} express`)
  await scheduler.sleep(scheduler.between(1, 6), here.owner)
  if (scheduler.chance(plan.commitUnknown)) offer?.cancel()
  else if (rowsOf.length > 0) offer?.dispatch(rowsOf)
  if (rowsOf.length < records.length && scheduler.chance(0.7)) here.relay.wake()
}

const offerOf = ({ owner, relay }: Process): ExpressOffer | undefined =>
  owner.alive ? relay.express([]) : undefined

/** Writers know with some delay whether somebody reads. */
function logOffer(scheduler: Scheduler, log: SimulatedLog): ExpressOffer | undefined {
  if (!log.followed && scheduler.chance(0.7)) return undefined
  const digits = Math.floor(scheduler.random() * 16 ** 12)
    .toString(16)
    .padStart(12, '0')
  const token = logToken(`00000000-0000-4000-8000-${digits}`)
  return { token, graceMs: 600, dispatch: () => {}, cancel: () => {} }
}

function makeRecords(name: string, scheduler: Scheduler, plan: WriterPlan): Record[] {
  const oneKey = scheduler.chance(0.5) ? `k${scheduler.between(1, plan.keys)}` : undefined
  return Array.from({ length: scheduler.between(1, 3) }, (_, index) => {
    const key =
      oneKey ?? (scheduler.chance(0.3) ? undefined : `k${scheduler.between(1, plan.keys)}`)
    let nature: Record['nature'] = scheduler.chance(plan.poison) ? 'poison' : 'plain'
    if (plan.killers > 0 && scheduler.chance(0.1)) {
      plan.killers--
      nature = 'killer'
    }
    const to = `d${scheduler.between(1, plan.destinations)}`
    return {
      id: `${name}.${index}`,
      key,
      to,
      nature,
      position: undefined,
      committed: false,
      publishes: 0,
      accepted: [],
      refusals: 0,
      faults: 0,
      losses: 0,
      hits: 0,
    }
  })
}

const NO_BODY = new Uint8Array(0)

function messageOf({ id, key, to }: Record, delayMs: number | undefined): OutgoingMessage {
  return {
    id,
    type: 'simulated',
    headers: {},
    body: NO_BODY,
    to: { transport: 'default', kind: 'queue', name: to },
    ...(key === undefined ? {} : { partitionKey: key }),
    ...(delayMs === undefined ? {} : { delayMs }),
  }
}
