/** Gives the work up when the signal aborts: cuts it off, and throws the reason of the signal. */
export async function untilAborted<Result>(
  work: Promise<Result>,
  signal: AbortSignal,
  cutOff: () => void,
): Promise<Result> {
  const { promise, reject } = Promise.withResolvers<never>()
  const giveUp = (): void => {
    cutOff()
    reject(signal.reason)
  }
  if (signal.aborted) giveUp()
  else signal.addEventListener('abort', giveUp, { once: true })
  try {
    return await Promise.race([work, promise])
  } finally {
    signal.removeEventListener('abort', giveUp)
  }
}
