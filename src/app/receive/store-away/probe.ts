import { uuidv7 } from '../../../lib/uuid.ts'
import type { Settings } from '../../settings/settings.ts'
import { StoreGate } from './store-gate.ts'

/** Guards the deliveries of an app with a database. */
export function storeGate<Tx>(settings: Settings<Tx>): StoreGate | undefined {
  const { name: app, logger, clock, random, unitOfWork } = settings
  if (unitOfWork === undefined) return undefined
  return new StoreGate({
    app,
    logger,
    clock,
    random,
    probe: (signal) => probe(settings, unitOfWork, signal),
  })
}

/** Uses the probe of the store if it has one, else makes an inbox record and rolls it back. */
async function probe<Tx>(
  { store, tracker, clock, name: consumer }: Settings<Tx>,
  unitOfWork: NonNullable<Settings<Tx>['unitOfWork']>,
  signal: AbortSignal,
): Promise<void> {
  if (store?.probe !== undefined && unitOfWork === store.unitOfWork) return store.probe({ signal })
  const enough = new Error('a probe is rolled back')
  const messageId = uuidv7(clock.now())
  const work = async (tx: Tx): Promise<never> => {
    await tracker?.track(tx, { consumer, messageId })
    throw enough
  }
  try {
    await unitOfWork(work, { signal })
  } catch (error) {
    if (error !== enough) throw error
  }
}
