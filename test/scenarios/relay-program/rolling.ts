/**
 * A rolling restart: each relay in turn is sent SIGTERM while it has its hands full, and a new one
 * takes its place.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Place, type RelayProcess, startRelay } from './place.ts'

/** What a stop met, as the triggers of the witness saw it. */
interface Caught {
  /** Rows that the relay had claimed before it knew of the signal, and settled after it. */
  readonly held: number
  /** Of these: confirmed by the broker, so they were in flight. */
  readonly sent: number
  /** Of these: given back unpublished. */
  readonly released: number
}

export interface Stop extends Caught {
  readonly relay: string
  readonly code: number | null
  /** From the signal to the end of the process. */
  readonly ms: number
}

/**
 * A stop that finds the hands of its relay empty proves nothing; then its successor is stopped as
 * well.
 */
const TRIES = 8

/** Sends the signal in a moment in which the relay says that it has messages in hand. */
async function whenBusy({ address }: RelayProcess): Promise<void> {
  for (;;) {
    const text = await (await fetch(`${address}/metrics`)).text()
    if (Number(/^mersal_relay_held_messages (\d+)$/m.exec(text)?.[1]) > 0) return
    await sleep(2)
  }
}

/** The moment in which the relay wrote in its log that it stops. */
function stoppingAt(stderr: string): string {
  for (const line of stderr.split('\n')) {
    const entry = line.startsWith('{')
      ? (JSON.parse(line) as { time: string; message: string })
      : undefined
    if (entry?.message === 'stopping') return entry.time
  }
  throw new Error(`it did not say that it stops:\n${stderr}`)
}

async function caught({ database }: Place, relay: string, at: string): Promise<Caught> {
  const S = database.schema
  // The log has whole milliseconds: what was settled in that very one does not count.
  const [row] = await database.query(
    `select count(*)::int as held, count(*) filter (where s.op = 'delete')::int as sent, count(*) filter (where s.op = 'update')::int as released
     from ${S}.witness_change c join ${S}.witness_change s on s.position = c.position and s.old_token = c.new_token
     where c.relay = $1 and c.at <= $2::timestamptz and s.relay = $1 and s.new_token is null and s.at > $2::timestamptz + interval '1 millisecond'`,
    [relay, at],
  )
  return {
    held: Number(row?.['held']),
    sent: Number(row?.['sent']),
    released: Number(row?.['released']),
  }
}

async function stop(place: Place, relay: RelayProcess): Promise<Stop> {
  await whenBusy(relay)
  const sent = performance.now()
  const { code, stderr } = await relay.running.signal('SIGTERM')
  const ms = Math.round(performance.now() - sent)
  return { relay: relay.name, code, ms, ...(await caught(place, relay.name, stoppingAt(stderr))) }
}

/** Restarts every relay once, one after the other. `relays` holds those that run. */
export async function restartEach(
  place: Place,
  relays: RelayProcess[],
  pace: () => Promise<void>,
): Promise<readonly Stop[]> {
  const stops: Stop[] = []
  for (const [index, first] of [...relays].entries()) {
    await pace()
    let relay = first
    for (let tries = 1, busy = false; !busy; tries += 1) {
      if (tries > TRIES)
        throw new Error(`invalid run: ${TRIES} stops met idle relays: ${JSON.stringify(stops)}`)
      const made = await stop(place, relay)
      stops.push(made)
      relay = await startRelay(place, `${first.name}+${tries}`)
      relays[index] = relay
      busy = made.held > 0
    }
  }
  return stops
}
