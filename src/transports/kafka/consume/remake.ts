import type { Trouble } from '../../shared/receiving/trouble.ts'

/**
 * Makes again what is missing: once at a time, since each partition of a topic that is gone tells
 * of it. What is returned never rejects.
 */
export function remaker(
  prepare: () => Promise<void>,
  told: Pick<Trouble, 'tell'>,
): () => Promise<void> {
  let isMaking = false
  return async () => {
    if (isMaking) return
    isMaking = true
    try {
      await prepare()
    } catch (error) {
      told.tell(error)
    } finally {
      isMaking = false
    }
  }
}
