let names = 0

/** A savepoint in plain SQL, as people write it whose library has none. */
export async function plainSavepoint(
  run: (text: string) => unknown,
  work: () => Promise<void>,
): Promise<void> {
  const name = `inner_${++names}`
  await run(`savepoint ${name}`)
  try {
    await work()
    await run(`release savepoint ${name}`)
  } catch (error) {
    await run(`rollback to savepoint ${name}`)
    throw error
  }
}
