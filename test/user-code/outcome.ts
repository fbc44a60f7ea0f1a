/** What became of a transaction, as its caller was told. */
export type Outcome =
  | { readonly kind: 'committed' }
  | { readonly kind: 'failed'; readonly code: string }

export async function outcomeOf(work: () => Promise<Outcome | void>): Promise<Outcome> {
  try {
    return (await work()) ?? { kind: 'committed' }
  } catch (error) {
    return { kind: 'failed', code: String((error as { code?: unknown }).code ?? error) }
  }
}
