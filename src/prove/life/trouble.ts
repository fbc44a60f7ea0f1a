import { AsyncLocalStorage } from 'node:async_hooks'
import type { UnitOfWork } from '../../core/store.ts'
import type { Delivery, Disposition, Transport } from '../../core/transport.ts'
import type { AtCrashPoint } from '../../testing/crash-points.ts'
import { isUndone, type Trouble } from '../plan.ts'

/** Thrown into the program on purpose. */
export class Planned extends Error {
  override readonly name = 'PlannedFailure'
}

/** The delivery that the code belongs to. */
const delivering = new AsyncLocalStorage<{ readonly id: string }>()

/** The action that is made and has to be taken back: one at a time. */
let undoing: number | undefined

/**
 * Runs one action. Its transaction is told by its time and not by its context, which a request
 * over a network does not carry.
 */
export async function acting(
  { n, trouble }: { readonly n: number; readonly trouble: Trouble | undefined },
  act: () => unknown,
): Promise<void> {
  if (trouble === 'undo' && isUndone(n)) undoing = n
  try {
    await act()
  } finally {
    undoing = undefined
  }
}

/** What the program goes through besides being killed. */
export interface Troubles {
  unitOfWork<Tx>(inner: UnitOfWork<Tx>): UnitOfWork<Tx>
  consume(transport: Transport): Transport['consume']
}

export interface TroubleOptions {
  readonly trouble: Trouble | undefined
  /** Called when it gets into the trouble. */
  readonly happened: () => void
  readonly at: AtCrashPoint
}

export function troubles({ trouble, happened, at }: TroubleOptions): Troubles {
  const failing = failures(trouble, happened)
  return {
    unitOfWork: (inner) => (work, options) => {
      const delivery = delivering.getStore()
      return inner(async (...given) => {
        const value = await work(...given)
        if (delivery !== undefined) await at('C4')
        failing(delivery?.id)
        return value
      }, options)
    },
    consume: (transport) => (consumption, onDelivery) =>
      transport.consume(consumption, (delivery) =>
        delivered(delivery, onDelivery, trouble === 'twice' ? happened : undefined),
      ),
  }
}

/** Throws at the end of a transaction where that is due. */
function failures(
  trouble: Trouble | undefined,
  happened: () => void,
): (delivery: string | undefined) => void {
  const tried = new Set<string>()
  let poison: string | undefined
  const fail = (text: string): never => {
    happened()
    throw new Planned(text)
  }
  return (id) => {
    if (id === undefined) {
      if (undoing !== undefined) fail('this action is taken back')
    } else if (trouble === 'fail' && !tried.has(id)) {
      tried.add(id)
      fail('the first try of this delivery fails')
    } else if (trouble === 'poison') {
      poison ??= id
      if (poison === id) fail('this message can never be handled')
    }
  }
}

type OnDelivery = (delivery: Delivery) => Promise<Disposition>

async function delivered(
  delivery: Delivery,
  onDelivery: OnDelivery,
  again: (() => void) | undefined,
): Promise<Disposition> {
  const once = (): Promise<Disposition> =>
    delivering.run({ id: delivery.message.id }, () => onDelivery(delivery))
  const disposition = await once()
  if (again === undefined || disposition.kind !== 'ack') return disposition
  // As if the acknowledgement had been lost.
  again()
  return await once()
}
